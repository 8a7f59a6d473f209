"""Calibrations over HTTP: enqueued at once, planned and fitted by workers, used by later runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select

from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, Scope
from producer.client import Client, RequestRejected
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Solver
from schema.tables import Batch, Calibration, CalibrationPlan, Chip, Run, RunSubmission, TrainingSet
from tests.integration.api.conftest import npz, refused
from tests.integration.conftest import START, some_images, work_off
from tests.serving import client
from worker.context import Context

CHIP = {
    "solver": Solver.EMULATOR,
    "name": "slow",
    "graph_id": "g",
    "qubits": 5_000,
    "couplers": 40_000,
    "graph": b"",
    "created_at": START,
    "seen_at": START,
    "properties": {
        "num_reads_range": [1, 10_000],
        "default_annealing_time": 20.0,
        "problem_timing_data": {"typical_programming_time": 15_000.0, "qpu_delay_time_per_sample": 20.0},
    },
}


@pytest.fixture
def annealq(address: str) -> Iterator[Client]:
    with Client(address, patience_s=0) as opened:
        yield opened


def calibrate(http: httpx.Client, data: bytes | None = None, **fields: object) -> httpx.Response:
    """Send an .npz file; `key=` is its Idempotency-Key."""
    key = fields.pop("key", None)
    headers = {} if key is None else {"Idempotency-Key": str(key)}
    form = {name: str(value) for name, value in ({"network": "digits", "reads": 10} | fields).items()}
    files = {"images": ("some.npz", npz() if data is None else data)}
    return http.post("/v1/calibrations", files=files, data=form, headers=headers)


def rows(database: Database) -> dict[str, int]:
    tables: tuple[Any, ...] = (Calibration, CalibrationPlan, Run, Batch, TrainingSet)
    with database.reading() as session:
        counted = {each.__tablename__: select(func.count()).select_from(each) for each in tables}
        return {name: session.execute(query).scalar_one() for name, query in counted.items()}


def test_it_is_enqueued_planned_fitted_and_used(
    http: httpx.Client, context: Context, working: ChosenNetwork
) -> None:
    sent = calibrate(http, lam="1,2.5", name="validation", limit=20)
    assert sent.status_code == 202, sent.text
    number = sent.json()["calibration_id"]
    assert sent.json() == {
        "calibration_id": number,
        "state": "waiting",
        "created": True,
        "notes": [],
        "links": {"self": f"/v1/calibrations/{number}"},
    }
    path = sent.headers["Location"]
    waiting = http.get(path).json()
    assert (waiting["plan_state"], waiting["runs"], waiting["images"]) == ("queued", 0, 20)
    assert "waiting for a worker" in http.get("/networks").text
    work_off(context, Message(Task.PLAN_CALIBRATION, number))
    fitted = http.get(path).json()
    assert (fitted["state"], fitted["plan_state"], fitted["runs"]) == ("ready", "ready", 2)
    assert (fitted["network"], fitted["name"], fitted["images"]) == ("digits@1", "validation", 20)
    assert fitted["parameters"]["lam"] in (1.0, 2.5)
    run = http.post("/v1/runs", files={"images": ("x.npz", npz(2))}, data={"network": "digits"}).json()
    assert http.get(run["links"]["self"]).json()["calibrated_by"] == number


def test_the_same_key_is_the_same_calibration_and_another_request_is_refused(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    first = calibrate(http, key="monday", lam="1,2")
    assert first.status_code == 202, first.text
    before = rows(database)
    again = calibrate(http, key="monday", lam="1,2")
    assert (again.status_code, again.json()) == (200, {**first.json(), "created": False})
    for changes in ({"lam": "1,3"}, {"solver": "exact", "lam": "1,2"}, {"seed": 1, "lam": "1,2"}):
        refused(calibrate(http, key="monday", **changes), 409)
    other = calibrate(http, npz(seed=1), key="monday", lam="1,2")
    assert refused(other, 409).count("'monday'") == 1
    assert [each["field"] for each in other.json()["errors"]] == ["images"]
    unkeyed = calibrate(http, lam="1,2")
    assert (unkeyed.status_code, unkeyed.json()["calibration_id"]) == (200, first.json()["calibration_id"])
    assert rows(database) == before


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"network": "nosuch"}, 422, "nosuch"),
        ({"network": ""}, 422, "network"),
        ({"solver": "emulator"}, 422, "budget_s is missing"),
        ({"solver": "emulator", "budget_s": 0.05}, 422, "does not suffice for one problem with each of"),
        ({"solver": "emulator", "budget_s": 1, "sweeps": "10"}, 422, "sweeps"),
        ({"solver": "emulator", "budget_s": 1, "qpu": "a, b"}, 422, "one chip"),
        ({"budget_s": 1}, 422, "budget_s"),
        ({"scale": "1,2"}, 422, "scales"),
        ({"lam": "1,x"}, 422, "lam"),
        ({"lam": "-1"}, 422, "lam"),
        ({"lam": ",".join(map(str, range(1, 52)))}, 422, "lam"),
        ({"lam": ",".join(map(str, range(1, 30))), "sweeps": "1,2,3,4,5,6,7,8"}, 422, "at most 200"),
        ({"reads": 0}, 422, "reads"),
        ({"nonsense": 1}, 422, "nonsense"),
        ({"uri": "/etc/passwd"}, 422, "uri"),
    ],
)
def test_what_cannot_be_calibrated_is_named_and_leaves_nothing(
    http: httpx.Client,
    database: Database,
    network: ChosenNetwork,
    fields: dict[str, Any],
    status: int,
    named: str,
) -> None:
    with database.transaction() as session:
        session.execute(insert(Chip).values(CHIP))
    answer = calibrate(http, **fields)
    refused(answer, status)
    assert named in answer.text
    assert set(rows(database).values()) == {0}


def test_images_need_labels_and_may_be_numbers(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    images = some_images(12)
    assert images.labels is not None
    body: dict[str, Any] = {"network": "digits", "images": images.images.tolist(), "lam": [1, 2]}
    assert "needs labels" in refused(http.post("/v1/calibrations", json=body), 422)
    refused(http.post("/v1/calibrations", json={**body, "images": None}), 422)
    refused(http.post("/v1/calibrations", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    assert set(rows(database).values()) == {0}
    sent = http.post("/v1/calibrations", json={**body, "labels": images.labels.tolist()})
    assert sent.status_code == 202, sent.text


def test_they_are_listed_newest_first_page_by_page(
    http: httpx.Client, annealq: Client, network: ChosenNetwork
) -> None:
    numbers = [calibrate(http, seed=seed).json()["calibration_id"] for seed in range(3)]
    page = http.get("/v1/calibrations", params={"limit": 2, "network": "digits"}).json()
    assert [each["calibration_id"] for each in page["calibrations"]] == numbers[:0:-1]
    last = http.get(page["next"]).json()
    assert ([each["calibration_id"] for each in last["calibrations"]], last["next"]) == (numbers[:1], None)
    assert [each["calibration_id"] for each in annealq.calibrations(limit=2)] == numbers[:0:-1]
    refused(http.get("/v1/calibrations", params={"network": "nosuch"}), 404)
    refused(http.get("/v1/calibrations/999"), 404)


def test_limits_of_a_key_count_every_setting_and_the_budget_once(
    address: str, database: Database, working: ChosenNetwork, context: Context
) -> None:
    limits = KeyLimits(images_per_day=100, qpu_us_per_day=3_000_000)
    with client(address, keys.add(database, "small", Scope.SUBMIT, limits).key) as http:
        message = refused(calibrate(http, lam="1,2,3,4"), 429)
        assert "this calibration, in all settings, has 120" in message
        on_qubits = {"solver": "emulator", "limit": 2, "tiles": 2, "visible": "folded"}
        assert "3 s of QPU time" in refused(calibrate(http, **on_qubits, budget_s=4), 429)
        assert set(rows(database).values()) == {0}
        sent = calibrate(http, **on_qubits, budget_s=2, lam="1")
        assert sent.status_code == 202, sent.text
        left = http.get("/v1/me").json()["left"]
        assert (left["images"], left["qpu_s"]) == (100 - 3 * 2, 1.0)
        refused(calibrate(http, **on_qubits, budget_s=2, lam="2"), 429)
        local = calibrate(http, lam="1,2", limit=5).json()["calibration_id"]
        work_off(context, Message(Task.PLAN_CALIBRATION, local))
        assert http.get(f"/v1/calibrations/{local}").json()["state"] == "ready"
        owned = {run["run_id"] for run in http.get("/v1/runs").json()["runs"]}
    with database.reading() as session:
        made = select(Run.id).join(RunSubmission, RunSubmission.run_id == Run.id)
        assert owned == {*session.execute(made.where(Run.calibrates == local)).scalars()}
    assert len(owned) == 2


def test_the_client_calibrates(annealq: Client, context: Context, working: ChosenNetwork) -> None:
    images = some_images(10)
    assert images.labels is not None
    number = annealq.calibrate(images.images, images.labels, network="digits", lam=[1, 2.0], reads=10)
    work_off(context, Message(Task.PLAN_CALIBRATION, number))
    found = annealq.calibration(number)
    assert (found["state"], found["runs"]) == ("ready", 2)
    assert math.isclose(found["accuracy"], found["measured"]["right"][0][0] / 10, abs_tol=1.0)
    with pytest.raises(RequestRejected, match="budget_s is missing"):
        annealq.calibrate(images.images, images.labels, network="digits", solver="dwave")
