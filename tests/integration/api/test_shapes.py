"""Coloured images and vectors over HTTP: sent, sampled, scored again, shown, and examined."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import insert, select

from producer.client import Client
from producer.dashboard.report import run_report
from producer.doctor import examination
from producer.networks.chosen import ChosenNetwork
from producer.reports.export import write_images
from producer.reports.run import run_text
from producer.runs import queries, results
from schema.codecs import arrays
from schema.database import Database
from schema.messages import Message, Task
from schema.network import weights
from schema.network.architecture import Architecture
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.tables import Batch, Network
from tests.integration.api.conftest import refused, send
from tests.integration.conftest import network_row, work_off
from worker.context import Context
from worker.network.layers import NetworkModule

RNG = np.random.default_rng(8)
COLOURS = RNG.integers(0, 256, (7, 6, 4, 3), np.uint8)
VECTORS = RNG.standard_normal((7, 5)).astype(np.float32)
LABELS = np.arange(7) % 3


@pytest.fixture(autouse=True)
def networks(database: Database) -> None:
    """Store an untrained network for each kind of images."""
    for name, takes in (
        ("colours", {"height": 6, "width": 4, "channels": 3}),
        ("vectors", {"kind": "vector", "values": 5}),
    ):
        layer = {"kind": "dense", "units": 4, "activation": "tanh"}
        layers = Architecture.from_dict({"name": name, "input": takes, "classes": 3, "features": [layer]})
        module = NetworkModule(layers)
        data = weights.encode({key: value.numpy() for key, value in module.folded().items()}, layers)
        row = network_row() | {"name": name, "architecture": layers.to_dict(), "classes": ["a", "b", "c"]}
        row |= {"content_sha256": arrays.digest(name.encode()), "weights": data}
        row |= {"weights_sha256": weights.digest(data), **layers.input.image_shape.row()}
        with database.transaction() as session:
            session.execute(insert(Network).values(row))


def npz(**named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


@pytest.mark.parametrize(
    ("images", "network", "shape"), [(COLOURS, "colours", [6, 4, 3]), (VECTORS, "vectors", [5])]
)
def test_a_run_of_each_kind(
    http: httpx.Client, context: Context, images: np.ndarray, network: str, shape: list[int]
) -> None:
    run = send(http, npz(images=images, labels=LABELS), reads=5).json()["run_id"]
    as_numbers: Any = {"images": images.tolist(), "labels": LABELS.tolist(), "reads": 5}
    again = http.post("/v1/runs", json=as_numbers).json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    for number in (run, again):
        assert http.get(f"/v1/runs/{number}").json()["network"] == f"{network}@1"
        shown = http.get(f"/v1/runs/{number}/images/3").json()
        assert (shown["shape"], shown["label"]) == (shape, 0)
        np.testing.assert_array_equal(np.array(shown["pixels"], images.dtype), images[3])
        assert shown["result"]["status"] in ("decided", "tied", "undecided")
    results = [http.get(f"/v1/runs/{number}/results").json()["results"] for number in (run, again)]
    assert results[0] == results[1]
    rescored = http.post(f"/v1/runs/{run}/rescore", json={"reads": 3}).json()["run_id"]
    with context.database.reading() as session:
        batches = session.execute(select(Batch.id).where(Batch.run_id == rescored)).scalars().all()
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches))
    assert http.get(f"/v1/runs/{rescored}").json()["state"] == "done"
    page = http.get(f"/runs/{run}")
    assert page.status_code == 200
    assert http.get(f"/runs/{run}/report.html").status_code == 200
    seen = examination.examine(
        context.database, load(), WorkerSettings(), lambda _name, _size: lambda _done: None
    )
    assert seen.findings == ()


@pytest.mark.parametrize(("images", "pictures"), [(COLOURS, 1), (VECTORS, 0)])
def test_an_image_is_shown_as_a_picture_or_by_its_visible_units(
    http: httpx.Client,
    context: Context,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    images: np.ndarray,
    pictures: int,
) -> None:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)  # for the program that computes energies
    run = send(http, npz(images=images, labels=LABELS), reads=5).json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    page = f"/runs/{run}/images/3"
    http.get(page)  # asks for them
    work_off(context, Message(Task.COMPUTE_HISTOGRAMS, run))
    shown = http.get(page).text
    assert shown.count("data:image/png;base64,") == pictures
    assert shown.count("<title>visible unit ") == 4
    low, high = VECTORS[3].min(), VECTORS[3].max()
    assert (f"a vector of 5 values from {low:.4g} to {high:.4g}" in shown) is not bool(pictures)
    report = http.get(f"/runs/{run}/report.html").text
    assert report.count("<title>visible unit ") == 4 * len(images)
    assert report.count("data:image/png;base64,") == pictures * len(images)


def test_what_may_be_two_things_needs_a_choice(http: httpx.Client, address: str, context: Context) -> None:
    file = io.BytesIO()
    np.save(file, VECTORS)
    message = refused(http.post("/v1/runs", files={"images": ("v.npy", file.getvalue())}), 422)
    assert "7 vectors of 5 values or one picture" in message
    assert refused(http.post("/v1/runs", json={"images": VECTORS.tolist()}), 422).count(
        "--as (over HTTP: as)"
    )
    sent = http.post("/v1/runs", files={"images": ("v.npy", file.getvalue())}, data={"as": "vectors"})
    assert sent.status_code == 202, sent.text
    assert http.post("/v1/runs", json={"images": VECTORS.tolist(), "as": "vectors"}).status_code == 202
    picture = {"images": COLOURS[0].tolist(), "as": "picture"}
    one = http.post("/v1/runs", json=picture).json()["run_id"]
    assert http.get(f"/v1/runs/{one}").json()["images"] == 1
    assert "as" in refused(http.post("/v1/runs", json={**picture, "as": "films"}), 422)
    with Client(address) as client:
        run = client.submit(VECTORS, read_as="vectors")
        assert http.get(f"/v1/runs/{run}").json()["images"] == 7


def test_what_is_changed_of_images_is_said_wherever_their_run_is_shown(
    http: httpx.Client,
    address: str,
    context: Context,
    working: ChosenNetwork,
    tmp_path: Path,
) -> None:
    coloured = RNG.integers(0, 256, (5, 8, 8, 3), np.uint8)
    fields = {"network": working.name, "reads": 5, "scale_pixels": True, "key": "k"}
    sent = [send(http, npz(images=coloured / 255.0), **fields) for _ in range(2)]
    assert [(each.status_code, each.json()["created"]) for each in sent] == [(202, True), (200, False)]
    notes = [
        "5 scaled from float64, 0 to 1, to 0 to 255",
        "all turned from colour to grey and scaled from 0 to 255 to 0 to 16, as network 'digits' takes them",
    ]
    assert [each.json()["notes"] for each in sent] == [notes, notes]
    run = sent[0].json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    assert http.get("/v1/runs").json()["runs"][0]["notes"] == notes
    with Client(address) as client:
        assert client.run(run).notes == tuple(notes)
    text = "; ".join(notes)
    for page in (f"/runs/{run}", f"/runs/{run}/report.html"):
        assert text in html.unescape(http.get(page).text), page
    with context.database.reading() as session:
        shown = Console(width=400, file=io.StringIO())
        shown.print(run_text(session, run))
        assert text in shown.file.getvalue()
        assert text in run_report.markdown(session, run)
        about = results.about(session, queries.run(session, run))
    write_images(tmp_path / "them.npz", coloured, None, about)
    assert json.loads(str(np.load(tmp_path / "them.npz")["annealq"]))["notes"] == notes
    plain = http.post("/v1/runs", json={"images": coloured[..., 0].tolist(), "network": "digits"})
    assert plain.status_code == 422  # up to 255, and the network takes 16
    numbers = (coloured[..., 0] // 16).tolist()
    assert http.post("/v1/runs", json={"images": numbers, "network": "digits"}).json()["notes"] == []


def test_calibrations_and_trainings_say_what_is_changed_of_their_images(
    http: httpx.Client, working: ChosenNetwork
) -> None:
    coloured = RNG.integers(0, 17, (20, 8, 8, 3), np.uint8)
    data = npz(images=coloured, labels=np.arange(20) % 10)
    files = {"images": ("some.npz", data)}
    calibrated = http.post("/v1/calibrations", files=files, data={"network": working.name, "reads": "5"})
    assert calibrated.json()["notes"] == ["all turned from colour to grey, as network 'digits' takes them"]
    large = npz(images=RNG.random((20, 12, 12)), labels=np.arange(20) % 10)
    trained = http.post("/v1/networks", files={"images": ("some.npz", large)}, data={"resize": "8"})
    assert set(trained.json()["notes"]) == {
        "20 scaled from float64, 0 to 1, to 0 to 255",
        "20 resized to 8 x 8 (crop)",
    }


def test_networks_say_what_they_take(http: httpx.Client) -> None:
    found = {each["name"]: each["takes"] for each in http.get("/v1/networks").json()["networks"]}
    assert {name: found["colours"][name] for name in ("kind", "shape", "channels", "maximum")} == {
        "kind": "image",
        "shape": [6, 4, 3],
        "channels": 3,
        "maximum": 255,
    }
    assert (found["vectors"]["kind"], found["vectors"]["shape"], found["vectors"]["dtype"]) == (
        *("vector", [5]),
        "float32",
    )
    assert found["vectors"]["height"] is None
