"""What goes wrong: on demand, by kill -9, by hostile clients. Nothing is charged that was not accepted."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import requests
from dwave.cloud import Client
from dwave.cloud.exceptions import (
    InvalidAPIResponseError,
    SolverError,
    SolverFailureError,
    SolverOfflineError,
)

from tests import PATIENCE_S
from tests.emulators import ROOT, SOLVER, TOKEN, Emulator, base64_of, wait_until

# A problem of one read runs for 15 seconds at this speed.
FROZEN = "scaled:0.001"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def frozen() -> Iterator[Emulator]:
    """Its first problem runs for ever, all others wait."""
    with Emulator(clock=FROZEN) as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    """For tests that leave nothing behind."""
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client.from_config(client="qpu", **emulator.config) as connected:
        yield connected


def _sample(client: Client, **options: Any) -> Any:
    solver = client.get_solver(name=SOLVER)
    return solver.sample_ising({min(solver.nodes): 1.0}, {}, **options)


def _fault(target: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"target": target, "kind": kind, "count": 1, **fields}


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_refused_post_reaches_the_client_and_costs_nothing(
    emulator: Emulator, client: Client, status: int
) -> None:
    client.get_solver(name=SOLVER)
    emulator.break_down(_fault("submit", "error", status=status, retry_after=1))
    with pytest.raises(SolverError, match="fault injected"):
        _sample(client).result()
    assert emulator.ledger()["totals"]["accepted"] == 0
    assert _sample(client).result()


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
def test_a_reset_is_ambiguous_to_the_client_but_not_to_the_ledger(
    emulator: Emulator, client: Client, when: str, accepted: int
) -> None:
    client.get_solver(name=SOLVER)
    emulator.break_down(_fault("submit", "reset", when=when))
    with pytest.raises(requests.ConnectionError):
        _sample(client, label="ambiguous").result()
    wait_until(lambda: emulator.ledger()["totals"]["PENDING"] == 0)
    totals = emulator.ledger()["totals"]
    assert totals["accepted"] == totals["COMPLETED"] == accepted
    assert (totals["charged_us"] > 0) == bool(accepted)
    assert len(emulator.get("problems/?label=ambig").json()) == accepted


def test_an_error_after_acceptance_is_charged(emulator: Emulator, client: Client) -> None:
    client.get_solver(name=SOLVER)
    emulator.break_down(_fault("submit", "error", when="after", status=504))
    with pytest.raises(SolverError):
        _sample(client).result()
    wait_until(lambda: emulator.ledger()["totals"]["COMPLETED"] == 1)


@pytest.mark.parametrize("target", ["poll", "answer"])
def test_retry_after_is_obeyed_and_the_answer_comes(emulator: Emulator, client: Client, target: str) -> None:
    emulator.break_down(_fault(target, "error", status=429, retry_after=1), _fault(target, "reset"))
    started = time.monotonic()
    assert _sample(client).result()
    assert time.monotonic() - started >= 1
    (first, second) = emulator.session.get(emulator.ready["faults"]).json()["faults"]
    assert (first["fired"], second["fired"]) == (1, 1)


def test_a_slow_answer_comes_later(emulator: Emulator, client: Client) -> None:
    emulator.break_down(_fault("answer", "delay", delay_s=0.5))
    started = time.monotonic()
    assert _sample(client).result()
    assert time.monotonic() - started >= 0.5


def test_a_lost_answer_is_gone_but_charged(emulator: Emulator, client: Client) -> None:
    emulator.break_down(_fault("answer", "lose"))
    future = _sample(client)
    with pytest.raises(SolverError, match="no longer stored"):
        future.result()
    assert emulator.get(f"problems/{future.id}/answer").status_code == 410
    assert emulator.ledger()["totals"]["charged_us"] > 0


@pytest.mark.parametrize("damage", ["base64", "types", "short", "media", "json"])
def test_a_wrong_answer_is_noticed_by_the_client(emulator: Emulator, client: Client, damage: str) -> None:
    emulator.break_down(_fault("answer", "corrupt", damage=damage))
    future = _sample(client, num_reads=100, answer_mode="raw")
    kinds = (InvalidAPIResponseError, ValueError, TypeError, IndexError)
    with pytest.raises(kinds):
        future.sampleset.resolve()
    assert emulator.get(f"problems/{future.id}").json()["status"] == "COMPLETED"


def test_faults_by_chance_are_the_same_again_under_the_same_seed() -> None:
    seen = []
    for _ in range(2):
        with Emulator("--seed=3", "--fault=target=list,kind=error,probability=0.5,status=500") as emulator:
            seen.append([emulator.get("problems/").status_code for _ in range(40)])
    assert seen[0] == seen[1]
    assert set(seen[0]) == {200, 500}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"fault": []},
        {"faults": {}},
        {"faults": [{"target": "submit"}]},
        {"faults": [{"target": "submit", "kind": "reset", "count": 0}]},
        {"faults": [{"target": "submit", "kind": "error", "status": 200}]},
        {"faults": [{"target": "poll", "kind": "lose"}]},
        {"faults": [{"target": "poll", "kind": ["reset"]}]},
        {"offline": ["nobody"]},
        {"regraph": SOLVER},
    ],
)
def test_a_wrong_fault_is_refused_as_a_whole(shared: Emulator, content: Any) -> None:
    before = shared.session.get(shared.ready["faults"]).json()
    answer = shared.session.post(shared.ready["faults"], json=content)
    assert (answer.status_code, answer.json()["error_code"]) == (400, 400)
    assert shared.session.get(shared.ready["faults"]).json() == before


def test_a_web_page_cannot_command_the_emulator(shared: Emulator) -> None:
    answer = shared.session.post(shared.ready["faults"], data='{"offline": ["tiny"]}')
    assert answer.status_code == 415
    assert shared.properties()["status"] == "ONLINE"


def test_an_offline_solver_takes_nothing_and_its_queue_stands_still(
    emulator: Emulator, client: Client
) -> None:
    solver = client.get_solver(name=SOLVER)
    emulator.break_down(offline=[SOLVER])
    assert emulator.properties()["status"] == "OFFLINE"
    with pytest.raises(SolverOfflineError, match="offline"):
        solver.sample_ising({min(solver.nodes): 1}, {}).result()
    assert emulator.ledger()["totals"]["charged_us"] == 0
    assert client.get_solvers(name=SOLVER, online=True, refresh=True) == []
    emulator.break_down(online=[SOLVER])
    assert solver.sample_ising({min(solver.nodes): 1}, {}).result()


def test_another_graph_has_another_id_and_other_dead_qubits(frozen: Emulator) -> None:
    job, before = frozen.job(), frozen.properties()
    running, waiting = (item["id"] for item in frozen.post([job, job]).json())
    wait_until(lambda: frozen.get(f"problems/{running}").json()["status"] == "IN_PROGRESS")
    frozen.break_down(regraph=[SOLVER])
    after = frozen.properties()
    assert after["identity"]["name"] == before["identity"]["name"]
    assert after["identity"]["version"] != before["identity"]["version"]
    assert after["properties"]["qubits"] != before["properties"]["qubits"]
    assert len(after["properties"]["couplers"]) > 0
    (refused,) = frozen.post([job]).json()
    assert before["identity"]["version"]["graph_id"] in refused["error_msg"]
    statuses = [frozen.get(f"problems/{name}").json()["status"] for name in (running, waiting)]
    assert statuses == ["IN_PROGRESS", "FAILED"]
    assert frozen.ledger()["totals"]["charged_us"] == 0
    (accepted,) = frozen.post([frozen.job()]).json()
    assert accepted["status"] == "PENDING"


def test_only_what_waits_can_be_cancelled(frozen: Emulator) -> None:
    running, second, third = (item["id"] for item in frozen.post([frozen.job()] * 3).json())
    wait_until(lambda: frozen.get(f"problems/{running}").json()["status"] == "IN_PROGRESS")
    assert frozen.delete(f"problems/{second}").json()["status"] == "CANCELLED"
    assert frozen.delete(f"problems/{running}/").status_code == 202
    assert frozen.delete(f"problems/{second}/").status_code == 409
    listed = frozen.delete("problems/", json=[running, second, third, "unknown"]).json()
    assert [item.get("error_code") for item in listed] == [202, 409, None, 404]
    assert listed[2]["status"] == "CANCELLED"
    totals = frozen.ledger()["totals"]
    assert (totals["PENDING"], totals["CANCELLED"], totals["charged_us"]) == (1, 2, 0)


def test_a_problem_is_cancelled_by_the_client(frozen: Emulator) -> None:
    frozen.post([frozen.job()])
    with Client.from_config(client="qpu", **frozen.config, poll_wait_time=1) as client:
        future = _sample(client)
        assert future.wait_id(10)
        future.cancel()
        with pytest.raises(Exception, match=r"cancell?ed|^$") as ended:
            future.result()
        assert type(ended.value).__name__ == "CanceledFutureError"


def test_problems_are_solved_first_in_first_out_and_take_their_time() -> None:
    with Emulator(clock="scaled:2") as emulator:
        job = emulator.job(params={"num_reads": 500})
        started = time.monotonic()
        ids = [item["id"] for item in emulator.post([job] * 4).json()]
        wait_until(lambda: emulator.ledger()["totals"]["COMPLETED"] == 4)
        elapsed = time.monotonic() - started
        ledger = emulator.ledger()
    entries = sorted(ledger["problems"], key=lambda entry: entry["solved_on"])
    assert [entry["id"] for entry in entries] == ids
    modelled = ledger["totals"]["charged_us"] / 1e6 / 2
    assert modelled <= elapsed


def test_no_more_than_a_thousand_problems_are_queued(frozen: Emulator) -> None:
    results = frozen.post([frozen.job()] * 1003).json()
    assert [item.get("error_code") for item in results] == [None] * 1000 + [400] * 3
    assert "Maximum number of queued problems exceeded: 1,000" in results[-1]["error_msg"]
    (other,) = frozen.post([frozen.job()], headers={"X-Auth-Token": "another"}).json()
    assert other["status"] == "PENDING"
    assert frozen.ledger()["totals"]["accepted"] == 1001
    assert frozen.properties()["avg_load"] == 1.0


def test_accepted_problems_outlive_kill_9(tmp_path: Path) -> None:
    state = f"--state={tmp_path / 'state'}"
    with Emulator(state, clock=FROZEN) as emulator:
        ids = [item["id"] for item in emulator.post([emulator.job(label="kept")] * 3).json()]
        emulator.break_down(regraph=[SOLVER])
        young = [item["id"] for item in emulator.post([emulator.job()] * 2).json()]
        graph = emulator.properties()["identity"]
        emulator.kill()
    with Emulator(state) as again:
        assert again.properties()["identity"] == graph
        wait_until(lambda: again.ledger()["totals"]["PENDING"] == 0)
        entries = {entry["id"]: entry for entry in again.ledger()["problems"]}
        assert list(entries) == ids + young
        assert [entries[name]["status"] for name in young] == ["COMPLETED"] * 2
        assert {entries[name]["status"] for name in ids} == {"FAILED"}  # their graph is gone
        answer = again.get(f"problems/{young[0]}").json()["answer"]
        assert round(answer["timing"]["qpu_access_time"], 1) == entries[young[0]]["charged_us"]
        again.kill()
        again.start()
        assert again.get(f"problems/{young[0]}").json()["answer"] == answer
        assert again.ledger()["problems"] == list(entries.values())


def test_old_answers_are_dropped_but_not_their_charge() -> None:
    with Emulator("--keep=10", samples="instant") as emulator:
        first, *_ = (item["id"] for item in emulator.post([emulator.job()] * 250).json())
        wait_until(lambda: emulator.ledger()["totals"]["COMPLETED"] == 250)
        assert emulator.get(f"problems/{first}/answer").status_code == 410
        assert emulator.get(f"problems/{first}/info").status_code == 410
        assert emulator.get(f"problems/?id={first}").json()[0]["status"] == "COMPLETED"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_cleanly_although_clients_wait(frozen: Emulator, number: signal.Signals) -> None:
    (problem,) = frozen.post([frozen.job(params={"num_reads": 10_000})]).json()
    answers: list[int] = []

    def poll() -> None:
        with requests.Session() as session:
            url = frozen.endpoint + f"problems/?id={problem['id']}&timeout=30"
            answers.append(session.get(url, headers={"X-Auth-Token": TOKEN}).status_code)

    waiting = [threading.Thread(target=poll) for _ in range(5)]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    code = frozen.stop(number)  # fails where it waits for the polls
    for thread in waiting:
        thread.join()
    assert code == 0
    assert answers == [200] * 5


def test_a_long_poll_ends_when_one_problem_does() -> None:
    with Emulator(clock="scaled:0.05") as emulator:
        first, second = (item["id"] for item in emulator.post([emulator.job()] * 2).json())
        statuses = emulator.get(f"problems/?id={second},{first}&timeout=30").json()
    assert [(one["id"], one["status"]) for one in statuses] == [(second, "IN_PROGRESS"), (first, "COMPLETED")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": {"name": "nobody"}}, "does not have access: 'nobody'"),
        ({"solver": 7}, "solver must be an object"),
        ({"solver": {"name": SOLVER, "version": {"graph_id": ["x"]}}}, "fetch the solver again"),
        ({"type": "cqm"}, "Problem type (cqm) is not supported"),
        ({"type": {}}, "is not supported"),
        ({"data": None}, "format qp"),
        ({"data": {"format": "qp", "lin": "***", "quad": ""}}, "lin is not base64"),
        ({"data": {"format": "qp", "lin": "AAAA", "quad": ""}}, "doubles of 8 bytes"),
        ({"data": {"format": "qp", "lin": 1, "quad": ""}}, "base64 text, not int"),
        ({"data": {"format": "qp", "lin": base64_of([1.0]), "quad": ""}}, "261 values"),
        ({"data": {"format": "qp", "lin": base64_of([np.nan] * 261), "quad": ""}}, "uses no qubit"),
        ({"data": {"format": "qp", "lin": base64_of([np.inf] * 261), "quad": ""}}, "quad must have"),
        ({"params": {"num_reads": 10**18}}, "1 to 10,000, not 1,000,000,000,000,000,000"),
        ({"params": {"num_reads": True}}, "num_reads must be an integer"),
        ({"params": {"num_reads": 1.5}}, "num_reads must be an integer"),
        ({"params": {"auto_scale": "yes"}}, "true or false"),
        ({"params": {"annealing_time": "long"}}, "must be a number"),
        ({"params": {"flux_biases": [1.1] * 288}}, "-1 to 1 Phi_0"),
        ({"params": {"flux_biases": [0]}}, "list of 288 numbers"),
        ({"params": {"initial_state": [1]}}, "belong together"),
        ({"params": {"anneal_schedule": [[0, 0], [1, 2]]}}, "fractions 0 to 1"),
        ({"params": {"anneal_schedule": [[0, 0], [0.1, 1]]}}, "slope"),
        ({"params": []}, "params must be an object"),
        ({"label": 5}, "label must be text"),
        ({"label": "x" * 2000}, "at most 1,024"),
        ({"more": 1}, "no field 'more'"),
    ],
)
def test_a_hostile_problem_is_refused_alone(shared: Emulator, changes: Any, message: str) -> None:
    refused, accepted = shared.post([shared.job(**changes), shared.job()]).json()
    assert message in refused["error_msg"]
    assert accepted["status"] == "PENDING"


def test_values_that_are_not_finite_are_refused(shared: Emulator) -> None:
    job = shared.job()
    for value in (np.inf, -np.inf, np.nan, 1e200):
        job["data"]["quad"] = base64_of([value])
        (refused,) = shared.post([job]).json()
        assert "finite values" in refused["error_msg"]
    lin = np.frombuffer(base64.b64decode(job["data"]["lin"]))
    job["data"] |= {"lin": base64_of(np.where(np.isnan(lin), lin, np.inf)), "quad": base64_of([0.0])}
    assert "finite values" in shared.post([job]).json()[0]["error_msg"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"7", {}, 400),
        (b'[{"params": {"num_reads": NaN}}]', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"not deflated", {"Content-Encoding": "deflate"}, 400),
        (zlib.compress(b"[]")[:-2], {"Content-Encoding": "deflate"}, 400),
        (zlib.compress(b"[]") + b"more", {"Content-Encoding": "deflate"}, 400),
        (b"[]", {"Content-Encoding": "br"}, 415),
        (zlib.compress(bytes(100 * 1024 * 1024)), {"Content-Encoding": "deflate"}, 413),
        (zlib.compress(b"[" + b"{}," * 4_000_000 + b"{}]"), {"Content-Encoding": "deflate"}, 413),
    ],
    ids=range(11),
)
def test_a_hostile_body_is_refused(
    shared: Emulator, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = shared.session.post(shared.endpoint + "problems/", data=body, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (status, status)
    assert shared.post([shared.job()]).status_code == 200


def test_a_body_without_end_is_cut_off(shared: Emulator) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(1024 * 1024)

    try:
        answer = shared.session.post(shared.endpoint + "problems/", data=endless())
        assert answer.status_code == 413
    except requests.ConnectionError:
        pass  # it may hang up before all is sent
    assert shared.post([shared.job()]).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("problems/?id=unknown", 404),
        ("problems/?id=" + ",".join("x" * 101), 400),
        ("problems/?id=" + "x" * 9000, 414),
        ("problems/?max_results=0", 400),
        ("problems/?max_results=1001", 400),
        ("problems/?status=LOST", 400),
        ("problems/?timeout=-1&id=", 400),
        ("problems/?timeout=0", 400),
        ("problems/?id=", 404),
        ("problems/?order=random", 400),
        ("problems/nothing/info", 404),
        ("solvers/remote/nobody/", 404),
        ("solvers/remote/?filter=some", 400),
        ("solvers/remote/?filter=all,everything", 400),
        ("solvers/remote/?filter=all,-properties.", 400),
        ("solvers/local/", 404),
        ("../../etc/passwd", 404),
    ],
)
def test_a_wrong_request_is_refused_in_sapis_words(shared: Emulator, path: str, status: int) -> None:
    answer = shared.get(path)
    assert (answer.status_code, answer.json()["error_code"]) == (status, status)
    assert answer.json()["error_msg"]


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Emulator(f"--state={tmp_path / 'own'}"):
        for options, code, message in (
            ([f"--port={taken.getsockname()[1]}"], 1, "choose another --port"),
            ([f"--state={tmp_path}"], 1, "cannot write the state file"),
            ([f"--state={tmp_path / 'own'}"], 1, "in use by another emulator"),
            (["--solver=nobody"], 2, "unknown solver 'nobody'"),
        ):
            command = [sys.executable, "-m", "producer.cli", "emulator", "--port=0", *options]
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT
            )
            assert (ended.returncode, ended.stdout) == (code, "")
            assert message in ended.stderr
            assert "Traceback" not in ended.stderr


def test_what_the_client_gets_is_what_json_allows(emulator: Emulator) -> None:
    (problem,) = emulator.post([emulator.job(label='quote " and \\ and ü')]).json()
    assert problem["label"] == 'quote " and \\ and ü'
    with pytest.raises(SolverFailureError), Client.from_config(client="qpu", **emulator.config) as client:
        _sample(client, num_reads=0).result()
    assert orjson.loads(emulator.get("problems/").content)[0]["id"] == problem["id"]
