"""What D-Wave's service may do to a client: fail problems, expire tokens, list late or never, charge more.

The judge is D-Wave's own, unmodified client; what was charged is in the ledger.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dwave.cloud import Client
from dwave.cloud.api import Problems, Solvers
from dwave.cloud.api.exceptions import ResourceDeprecationWarning
from dwave.cloud.exceptions import (
    InvalidAPIResponseError,
    SolverAuthenticationError,
    SolverError,
    SolverFailureError,
    SolverNotFoundError,
    SolverOfflineError,
)
from dwave.cloud.solver import StructuredSolver
from dwave.system import DWaveSampler

from tests.emulators import SOLVER, Emulator, wait_until

FROZEN = "scaled:0.001"  # at this speed a problem of one read runs for 15 seconds


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=list(server.ready["solvers"]))


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client.from_config(client="qpu", **emulator.config) as connected:
        yield connected


def _sample(client: Client, **options: Any) -> Any:
    solver = client.get_solver(name=SOLVER)
    return solver.sample_ising({min(solver.nodes): 1.0}, {}, **options)


def _post(emulator: Emulator, count: int = 1, **changes: Any) -> list[str]:
    return [item["id"] for item in emulator.post([emulator.job(**changes)] * count).json()]


def _entry(emulator: Emulator, name: str) -> dict[str, Any]:
    (entry,) = (entry for entry in emulator.ledger()["problems"] if entry["id"] == name)
    return dict(entry)


def _wait_for(emulator: Emulator, name: str, status: str = "COMPLETED") -> None:
    wait_until(lambda: _entry(emulator, name)["status"] == status)


def _listed(emulator: Emulator, **query: Any) -> list[str]:
    return [item["id"] for item in emulator.get("problems/", params=query).json()]


# Problems that fail


@pytest.mark.parametrize("charged", [False, True])
def test_a_problem_is_accepted_and_fails_at_the_solver(
    emulator: Emulator, client: Client, charged: bool
) -> None:
    emulator.break_down({"target": "problem", "kind": "fail", "charged": charged, "count": 1})
    future = _sample(client)
    with pytest.raises(SolverFailureError, match="Internal SAPI Error"):
        future.result()
    entry = _entry(emulator, future.id)
    assert (entry["status"], entry["error"]) == ("FAILED", "Internal SAPI Error")
    assert entry["charged_us"] == (round(entry["access_us"], 1) if charged else 0)
    assert entry["access_us"] > 0
    assert emulator.get(f"problems/{future.id}").json()["error_message"] == "Internal SAPI Error"
    assert emulator.get(f"problems/{future.id}/answer").status_code == 404
    (message,) = emulator.get(f"problems/{future.id}/messages").json()
    assert message["message"] == "Internal SAPI Error"
    assert _sample(client).result()


def test_some_problems_of_a_post_fail_by_chance(emulator: Emulator) -> None:
    emulator.break_down({"target": "problem", "kind": "fail", "probability": 0.3, "message": "no luck"})
    ids = _post(emulator, 200)
    wait_until(lambda: emulator.ledger()["totals"]["PENDING"] == 0)
    entries = {entry["id"]: entry for entry in emulator.ledger()["problems"]}
    failed = [name for name in ids if entries[name]["status"] == "FAILED"]
    assert abs(len(failed) - 60) < 4 * (200 * 0.3 * 0.7) ** 0.5
    assert {entries[name]["error"] for name in failed} == {"no luck"}


def test_a_problem_fails_only_when_it_has_run_and_also_after_kill_9(tmp_path: Path) -> None:
    state = f"--state={tmp_path / 'state'}"
    with Emulator(state, clock=FROZEN) as emulator:
        emulator.break_down({"target": "problem", "kind": "fail", "charged": True})
        (name,) = _post(emulator)
        assert emulator.get(f"problems/{name}").json()["status"] in {"PENDING", "IN_PROGRESS"}
        emulator.kill()
    with Emulator(state) as again:
        _wait_for(again, name, "FAILED")
        assert _entry(again, name)["charged_us"] > 0


def test_accepted_problems_all_fail_when_the_solver_goes_offline() -> None:
    with Emulator(clock=FROZEN) as emulator, Client.from_config(client="qpu", **emulator.config) as client:
        futures = [_sample(client) for _ in range(3)]
        assert all(future.wait_id(10) for future in futures)
        assert {future.remote_status for future in futures} <= {"PENDING", "IN_PROGRESS"}
        emulator.break_down(abandon=[SOLVER])
        for future in futures:
            with pytest.raises(SolverOfflineError, match="Solver is offline"):
                future.result()
        totals = emulator.ledger()["totals"]
        assert (totals["accepted"], totals["FAILED"], totals["charged_us"]) == (3, 3, 0)
        assert emulator.properties()["status"] == "OFFLINE"


# Tokens


def test_a_token_expires_and_comes_back(emulator: Emulator, client: Client) -> None:
    client.get_solver(name=SOLVER)
    emulator.break_down({"target": "any", "kind": "expire"})
    with pytest.raises(SolverAuthenticationError):
        _sample(client).result()
    for path in ("problems/", "problems/?id=x", "problems/x", "solvers/remote/"):
        answer = emulator.get(path)
        assert (answer.status_code, answer.json()["error_code"]) == (401, 401)
    assert emulator.delete("problems/x").status_code == 401
    emulator.break_down(clear=True)
    assert _sample(client).result()


def test_a_token_is_back_after_some_requests_or_some_time(emulator: Emulator) -> None:
    emulator.break_down({"target": "any", "kind": "expire", "count": 2})
    assert [emulator.get("problems/").status_code for _ in range(3)] == [401, 401, 200]
    emulator.break_down({"target": "any", "kind": "expire", "duration_s": 0.4})
    assert emulator.get("problems/").status_code == 401
    time.sleep(0.45)
    assert emulator.get("problems/").status_code == 200


def test_a_token_that_expires_during_a_poll_fails_the_accepted_problem() -> None:
    with (
        Emulator(clock=FROZEN) as emulator,
        Client.from_config(client="qpu", **emulator.config, poll_wait_time=1) as client,
    ):
        future = _sample(client)
        assert future.wait_id(10)
        emulator.break_down({"target": "any", "kind": "expire"})
        with pytest.raises(SolverAuthenticationError):
            future.result()
        assert emulator.ledger()["totals"]["PENDING"] == 1


# Listings


def test_problems_are_listed_late_but_known_by_id(emulator: Emulator) -> None:
    (early,) = _post(emulator, label="lag")
    wait_until(lambda: _listed(emulator, label="lag") == [early])
    time.sleep(0.6)
    emulator.break_down({"target": "list", "kind": "lag", "delay_s": 0.6})
    (late,) = _post(emulator, label="lag")
    assert _listed(emulator, label="lag") == _listed(emulator, label="lag", solver=SOLVER) == [early]
    assert emulator.get(f"problems/?id={late}").json()[0]["id"] == late
    time.sleep(0.6)
    assert _listed(emulator, label="lag") == [late, early]


@pytest.mark.parametrize("status", [404, 410])
def test_only_the_newest_problems_are_known(emulator: Emulator, client: Client, status: int) -> None:
    label = f"purge {status}"
    old, *new = _post(emulator, 4, label=label)
    emulator.post([emulator.job(label=label)], headers={"X-Auth-Token": "another"})
    assert _sample(client, label="other").result()
    wait_until(lambda: len(_listed(emulator, label=label, status="COMPLETED")) == 4)
    emulator.break_down({"target": "any", "kind": "purge", "newest": 4, "status": status})
    assert _listed(emulator, label=label) == new[::-1]
    assert len(_listed(emulator)) == 4
    for path in (f"problems/?id={new[0]},{old}", f"problems/{old}", f"problems/{old}/answer"):
        answer = emulator.get(path)
        assert (answer.status_code, answer.json()["error_code"]) == (status, status)
    assert [item.get("error_code") for item in emulator.delete("problems/", json=[old]).json()] == [status]
    with pytest.raises(SolverError) as error:
        client.retrieve_answer(old).result()
    assert error.value.error_code == status
    assert _entry(emulator, old)["charged_us"] > 0
    # Each further problem pushes out another one.
    _post(emulator)
    assert emulator.get(f"problems/{new[0]}").status_code == status


def test_one_problem_of_a_poll_is_gone_and_with_it_all_futures_of_the_client() -> None:
    with Emulator(clock=FROZEN) as emulator:
        ids = _post(emulator, 5)
        emulator.break_down({"target": "poll", "kind": "gone", "count": 1})
        answer = emulator.get("problems/?id=" + ",".join(ids))
        assert (answer.status_code, answer.json()["error_code"]) == (410, 410)
        codes = {name: emulator.get(f"problems/?id={name}&timeout=1").status_code for name in ids}
        assert sorted(codes.values()) == [200] * 4 + [410]
        (gone,) = (name for name in ids if codes[name] == 410)
        assert gone not in _listed(emulator)
        assert emulator.get(f"problems/{gone}/info").status_code == 410
        assert emulator.get("problems/?id=" + ",".join(ids)).status_code == 410
        assert emulator.get("problems/?id=" + ",".join(set(ids) - {gone})).status_code == 200
        assert _entry(emulator, gone)["gone"] == 410


@pytest.mark.parametrize("status", [404, 410])
def test_a_problem_that_is_gone_stays_gone(emulator: Emulator, client: Client, status: int) -> None:
    emulator.break_down({"target": "answer", "kind": "gone", "count": 1, "status": status})
    future = _sample(client)
    with pytest.raises(SolverError) as error:
        future.result()
    assert error.value.error_code == status
    emulator.break_down(clear=True)
    assert emulator.get(f"problems/?id={future.id}").status_code == status
    assert _entry(emulator, future.id)["charged_us"] > 0


def test_an_answer_leaves_one_id_out(emulator: Emulator) -> None:
    ids = _post(emulator, 3)
    _wait_for(emulator, ids[-1])
    emulator.break_down({"target": "poll", "kind": "corrupt", "damage": "omit", "count": 1})
    answers = [emulator.get("problems/?id=" + ",".join(ids)).json() for _ in range(2)]
    assert [[item["id"] for item in answer] for answer in answers] == [ids[:-1], ids]


def test_a_post_answers_one_problem_less_than_it_accepts(emulator: Emulator, client: Client) -> None:
    client.get_solver(name=SOLVER)
    before = emulator.ledger()["totals"]["accepted"]
    emulator.break_down({"target": "submit", "kind": "corrupt", "damage": "omit", "count": 1})
    with pytest.raises((InvalidAPIResponseError, AttributeError, TypeError)):
        _sample(client).result()
    assert emulator.ledger()["totals"]["accepted"] == before + 1


# Queues


def test_a_full_queue_refuses_problems_one_by_one() -> None:
    with Emulator("--max-queued=2", clock=FROZEN) as emulator:
        results = emulator.post([emulator.job()] * 4).json()
        assert [item.get("error_code") for item in results] == [None, None, 400, 400]
        assert results[3]["error_msg"].startswith("Maximum number of queued problems exceeded")
        single = emulator.post(emulator.job())
        assert (single.status_code, single.json()["error_code"]) == (400, 400)
        with Client.from_config(client="qpu", **emulator.config, poll_wait_time=1) as client:
            with pytest.raises(SolverFailureError, match="Maximum number of queued problems exceeded"):
                _sample(client).result()
            emulator.break_down(max_queued=3)
            future = _sample(client)
            assert future.wait_id(10)
            future.cancel()  # the client would be closed only after its answer, or 45 s
        assert emulator.ledger()["totals"]["accepted"] == 3


def test_a_queue_that_members_share_is_filled_by_another() -> None:
    with Emulator(clock=FROZEN) as emulator:
        other = {"X-Auth-Token": "another"}
        emulator.break_down(max_queued=2, shared_queue=True)
        assert all("id" in item for item in emulator.post([emulator.job()] * 2, headers=other).json())
        (refused,) = emulator.post([emulator.job()]).json()
        assert refused["error_code"] == 400
        emulator.break_down(shared_queue=False)
        (accepted,) = emulator.post([emulator.job()]).json()
        # Another member's problems come first all the same.
        assert emulator.get(f"problems/{accepted['id']}?timeout=1").json()["status"] == "PENDING"
        emulator.break_down(clear=True)
        shown = emulator.session.get(emulator.ready["faults"]).json()
        assert (shown["max_queued"], shown["shared_queue"]) == (1000, False)


# Solvers


def test_a_deprecation_reaches_the_user_of_the_client(emulator: Emulator) -> None:
    emulator.break_down(
        {
            "target": "solvers", "kind": "deprecate", "sunset": "2026-07-23",
            "message": 'the solver "tiny" will go',
        },
        {"target": "any", "kind": "deprecate", "context": "api", "message": "old path"},
    )  # fmt: skip
    with Solvers.from_config(**emulator.config) as solvers:
        with (
            pytest.warns(DeprecationWarning, match="old path"),
            pytest.warns(ResourceDeprecationWarning, match='the solver "tiny" will go.*2026-07-23'),
        ):
            solvers.list_solvers()
        first, second = solvers.session.deprecations
    assert (first.id, first.context, first.sunset.date().isoformat()) == ("dep-1", "solver", "2026-07-23")
    assert (second.id, second.context, second.message) == ("dep-2", "api", "old path")
    emulator.break_down(clear=True)
    assert "X-Deprecation" not in emulator.get("solvers/remote/").headers


def test_a_solver_is_renamed_and_keeps_its_graph_and_its_problems(tmp_path: Path) -> None:
    state = f"--state={tmp_path / 'state'}"
    with Emulator(state, clock=FROZEN) as emulator:
        old = emulator.properties()
        (name,) = _post(emulator)
        shown = emulator.break_down(rename={SOLVER: "tiny.v2"}, regraph=[])
        assert list(shown["solvers"]) == ["tiny.v2"]
        new = emulator.properties("tiny.v2")
        assert new["identity"] == {**old["identity"], "name": "tiny.v2"}
        assert new["properties"] == {**old["properties"], "chip_id": "tiny.v2"}
        assert emulator.get(f"solvers/remote/{SOLVER}").status_code == 404
        assert emulator.get(f"problems/{name}?timeout=1").json()["status"] == "IN_PROGRESS"
        with Client.from_config(client="qpu", **emulator.config) as client:
            with pytest.raises(SolverNotFoundError):
                client.get_solver(name=SOLVER)
            assert client.get_solver(name="tiny.v2").graph_id == old["identity"]["version"]["graph_id"]
            stale = client.get_solver()
            emulator.break_down(rename={"tiny.v2": "tiny.v3"})
            with pytest.raises(SolverFailureError, match="does not exist"):
                stale.sample_ising({min(stale.nodes): 1}, {}).result()
        emulator.kill()
    with Emulator(state) as again:
        assert list(again.session.get(again.ready["faults"]).json()["solvers"]) == ["tiny.v3"]
        _wait_for(again, name)
        again.break_down(rename={"tiny.v3": SOLVER})
        assert again.properties()["identity"] == old["identity"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rename": [SOLVER]}, {"rename": {SOLVER: 5}}, {"rename": {"nobody": "x"}},
        {"rename": {SOLVER: "a b"}},
        {"rename": {SOLVER: SOLVER}}, {"max_queued": -1}, {"max_queued": True}, {"shared_queue": 1},
        {"gate_solver": "yes"}, {"gate_solver": 1}, {"abandon": ["nobody"]}, {"abandon": SOLVER},
        {"temperature": 0},
    ],
)  # fmt: skip
def test_a_wrong_change_is_refused_as_a_whole(emulator: Emulator, changes: dict[str, Any]) -> None:
    before = emulator.session.get(emulator.ready["faults"]).json()
    answer = emulator.session.post(emulator.ready["faults"], json={"offline": [SOLVER], **changes})
    assert (answer.status_code, answer.json()["error_code"]) == (400, 400)
    assert emulator.session.get(emulator.ready["faults"]).json() == before


def test_a_gate_model_solver_is_listed_and_confuses_nobody(emulator: Emulator) -> None:
    emulator.break_down(gate_solver=True)
    listed = emulator.get("solvers/remote/").json()
    assert [item["identity"]["name"] for item in listed] == [SOLVER, "emulator-gate"]
    assert "version" not in listed[1]["identity"]
    assert emulator.get("solvers/remote/emulator-gate").json() == listed[1]
    with Client.from_config(**emulator.config) as client:
        assert isinstance(client.get_solver(qpu=True, order_by="-num_active_qubits"), StructuredSolver)
        gate = client.get_solver(supported_problem_types__contains="qcdl")
        assert gate.name == "emulator-gate"
    with DWaveSampler(**emulator.config) as sampler:
        assert sampler.solver.name == SOLVER
    (refused,) = emulator.post([emulator.job(solver={"name": "emulator-gate"})]).json()
    assert refused == {
        "error_code": 400, "error_msg": "Problem type (ising) is not supported by the solver; it takes qcdl"
    }  # fmt: skip
    emulator.break_down(gate_solver=False)
    assert emulator.get("solvers/remote/emulator-gate").status_code == 404


def test_a_gate_model_solver_that_says_it_is_a_qpu_comes_first_in_the_clients_order(
    emulator: Emulator,
) -> None:
    emulator.break_down(gate_solver="qpu")
    with Client.from_config(client="qpu", **emulator.config) as client:
        names = [solver.name for solver in client.get_solvers(order_by="-num_active_qubits")]
        assert names == ["emulator-gate", SOLVER]
        assert client.get_solver(supported_problem_types__contains="ising").name == SOLVER


def test_a_gate_model_solver_is_there_from_the_start() -> None:
    with Emulator("--gate-solver") as emulator:
        assert len(emulator.get("solvers/remote/").json()) == 2


# Charges and timing


def test_charges_differ_from_the_estimate_by_a_factor_and_at_random(
    emulator: Emulator, client: Client
) -> None:
    solver = client.get_solver(name=SOLVER)
    estimate = solver.estimate_qpu_access_time(1, num_reads=10)
    emulator.break_down({"target": "problem", "kind": "charge", "factor": 2, "spread": 0.001})
    futures = [_sample(client, num_reads=10) for _ in range(20)]
    times = [future.timing["qpu_access_time"] for future in futures]
    assert all(1.998 * estimate <= time <= 2.002 * estimate for time in times)
    assert len(set(times)) == 20
    assert [_entry(emulator, future.id)["charged_us"] for future in futures] == [
        round(time, 1) for time in times
    ]
    timing = futures[0].timing
    assert timing["qpu_programming_time"] + timing["qpu_sampling_time"] == pytest.approx(times[0])


def test_charges_at_random_are_the_same_again_and_outlive_kill_9(tmp_path: Path) -> None:
    fault = "--fault=target=problem,kind=charge,spread=0.001"
    seen = []
    for number in range(2):
        state = f"--state={tmp_path / str(number)}"
        with Emulator(fault, state, "--seed=5", clock=FROZEN) as emulator:
            (name,) = _post(emulator)
            emulator.kill()
        with Emulator(state, "--seed=5") as again:
            _wait_for(again, name)
            answer = again.get(f"problems/{name}/answer").json()["answer"]
            assert round(answer["timing"]["qpu_access_time"], 1) == _entry(again, name)["charged_us"]
            seen.append(_entry(again, name)["charged_us"])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("path", ["answer.timing.qpu_access_time", "answer.timing"])
def test_an_answer_lacks_its_timing_but_is_charged(emulator: Emulator, client: Client, path: str) -> None:
    emulator.break_down({"target": "answer", "kind": "hide", "path": path})
    future = _sample(client)
    assert len(future.result()["energies"]) == 1
    assert "qpu_access_time" not in future.result().get("timing", {})
    assert _entry(emulator, future.id)["charged_us"] > 0


def test_a_solver_does_not_state_how_long_problems_take(emulator: Emulator, client: Client) -> None:
    emulator.break_down({"target": "solvers", "kind": "hide", "path": "properties.problem_timing_data"})
    solver = client.get_solver(name=SOLVER)
    with pytest.raises(KeyError, match="problem_timing_data"):
        solver.estimate_qpu_access_time(1)
    assert "problem_timing_data" not in emulator.get("solvers/remote/").json()[0]["properties"]
    assert solver.sample_ising({min(solver.nodes): 1}, {}).timing["qpu_access_time"] > 0
    with warnings.catch_warnings(), Problems.from_config(**emulator.config) as problems:
        assert problems.list_problems()
