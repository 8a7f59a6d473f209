"""What D-Wave documents of SAPI and of its QPUs, and what its clients' live tests expect of the service."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dimod
import numpy as np
import pytest
from dwave.cloud import Client
from dwave.cloud.api import Problems, Solvers
from dwave.cloud.api.exceptions import (
    ResourceAccessForbiddenError,
    ResourceBadRequestError,
    ResourceConflictError,
    ResourceNotFoundError,
)
from dwave.cloud.api.models import ProblemCancelError, ProblemJob, SolverIdentity
from dwave.cloud.exceptions import CanceledFutureError, SolverError, SolverFailureError
from dwave.cloud.solver import StructuredSolver
from dwave.system import DWaveSampler
from dwave.system.schedules import ramp
from dwave.system.temperatures import h_to_fluxbias

from tests.emulators import SOLVER, TOKEN, Emulator, base64_of, wait_until

FROZEN = "scaled:0.001"  # at this speed a problem of 4,000 reads runs for minutes
ZEPHYR = "z"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Tests must not mind each other's problems."""
    chips = (f"--solver={SOLVER}=pegasus:4:3:5", f"--solver={ZEPHYR}=zephyr:3:2", "--solver=c=chimera:4")
    with Emulator("--errors=none", *chips) as running:
        yield running


@pytest.fixture(scope="module")
def frozen() -> Iterator[Emulator]:
    """Its first problem runs for ever, all others wait."""
    with Emulator(clock=FROZEN) as running:
        running.post([running.job(params={"num_reads": 4000})])
        wait_until(lambda: running.get("problems/?status=IN_PROGRESS").json())
        yield running


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Iterator[Client]:
    with Client.from_config(client="qpu", **emulator.config) as connected:
        yield connected


@pytest.fixture
def solver(client: Client) -> StructuredSolver:
    return client.get_solver(name=SOLVER)


@pytest.fixture
def problems(emulator: Emulator) -> Iterator[Problems]:
    with Problems.from_config(**emulator.config) as api:
        yield api


def _accept(kind: str, version: str = "3") -> dict[str, str]:
    return {"Accept": f"application/vnd.dwave.sapi.{kind}+json; version={version}"}


def _completed(emulator: Emulator, **changes: Any) -> str:
    done = emulator.post(emulator.job(**changes)).json()
    assert done["status"] == "COMPLETED"
    return str(done["id"])


# The REST interface


def test_a_client_without_libraries_goes_from_the_solvers_to_the_energies(emulator: Emulator) -> None:
    """As in D-Wave's example: filtered list, definition, POST of a list, the answer with a stale Accept."""
    session = emulator.session
    fields = "none,+identity,+status,+avg_load,+properties.num_qubits,+properties.category"
    session.headers.update(_accept("solver-definition-list"))
    listed = session.get(f"{emulator.endpoint}solvers/remote/", params={"filter": fields}).json()
    assert listed[0]["properties"] == {"num_qubits": 288, "category": "qpu"}
    assert [item["status"] for item in listed] == ["ONLINE"] * 3
    largest = max(listed, key=lambda item: item["properties"]["num_qubits"])
    session.headers.update(_accept("solver-definition"))
    definition = session.get(f"{emulator.endpoint}solvers/remote/{largest['identity']['name']}").json()
    qubits, pair = definition["properties"]["qubits"], definition["properties"]["couplers"][0]
    linear = [float("nan")] * len(qubits)
    linear[qubits.index(pair[0])], linear[qubits.index(pair[1])] = -0.5, 0.5
    session.headers.update(_accept("problems"))
    job = {
        "solver": definition["identity"],
        "label": "by hand",
        "data": {"format": "qp", "lin": base64_of(linear), "quad": base64_of([-1.0])},
        "type": "ising",
        "params": {"num_reads": 10},
    }
    (accepted,) = session.post(f"{emulator.endpoint}problems", json=[job]).json()
    answer = wait_until(
        lambda: session.get(f"{emulator.endpoint}problems/{accepted['id']}/answer").json().get("answer")
    )
    del session.headers["Accept"]
    assert min(np.frombuffer(base64.b64decode(answer["energies"]))) == -1.0
    assert answer["timing"]["qpu_access_time"] > 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("none,+properties.couplers", {"properties": {"couplers"}}),
        ("none,+identity,+properties.topology.type", {"identity": None, "properties": {"topology"}}),
        ("all,-properties.couplers,-properties.qubits", None),
        ("none,+properties.nothing", {}),
    ],
)
def test_solver_fields_are_filtered_by_dotted_names(
    emulator: Emulator, fields: str, expected: dict[str, set[str] | None] | None
) -> None:
    with Solvers.from_config(**emulator.config) as solvers:
        one = solvers.get_solver(SOLVER, filter=fields).model_dump(exclude_unset=True)
        listed = solvers.list_solvers(filter=fields)[0].model_dump(exclude_unset=True)
    one.pop("avg_load", None)
    listed.pop("avg_load", None)
    assert one == listed
    if expected is None:
        assert not {"couplers", "qubits"} & set(one["properties"])
        assert len(one["properties"]) > 20
        return
    assert set(one) == set(expected)
    for name, names in expected.items():
        assert names is None or set(one[name]) == names


def test_repeated_ids_are_answered_as_often(emulator: Emulator, problems: Problems) -> None:
    name, other = _completed(emulator), _completed(emulator)
    statuses = problems.get_problem_statuses([name, other, name, name], timeout=2)
    assert [status.id for status in statuses] == [name, other, name, name]
    assert [item.error_code for item in problems.cancel_problems([name, name])] == [409, 409]


def test_a_refused_single_problem_has_an_http_status_and_a_list_has_codes(
    emulator: Emulator, problems: Problems
) -> None:
    bad, lost = emulator.job(params={"nothing": 1}), emulator.job(solver={"name": "nobody"})
    obsolete = emulator.job(params={"max_answers": 3})
    for job, error in (
        (bad, ResourceBadRequestError),
        (lost, ResourceNotFoundError),
        (obsolete, ResourceAccessForbiddenError),
    ):
        with pytest.raises(error):
            problems.submit_problem(ProblemJob(**job))
    results = problems.submit_problems([ProblemJob(**job) for job in (bad, lost, obsolete)])
    assert [result.error_code for result in results] == [400, 400, 403]
    assert "Solver does not exist or apitoken does not have access" in results[1].error_msg
    with pytest.raises(ResourceBadRequestError):
        problems.submit_problem(
            ProblemJob(**emulator.job(solver=SolverIdentity(name=SOLVER).dict(), type="qcdl"))
        )


def test_a_solver_is_an_object_and_a_name_alone_suffices(emulator: Emulator) -> None:
    assert emulator.post(emulator.job(solver=SOLVER)).status_code == 400
    assert emulator.post(emulator.job(solver={"name": SOLVER})).json()["status"] == "COMPLETED"


def test_cancelling_a_running_problem_is_answered_but_it_ends(frozen: Emulator) -> None:
    (running,) = (item["id"] for item in frozen.get("problems/?status=IN_PROGRESS").json())
    with Problems.from_config(**frozen.config) as problems:
        single = problems.cancel_problem(running)
        (listed,) = problems.cancel_problems([running])
        for refused in (single, listed):
            assert isinstance(refused, ProblemCancelError)
            assert (refused.error_code, refused.error_msg) == (
                202,
                "Attempting to cancel problem in progress.",
            )
        waiting = frozen.post([frozen.job()]).json()[0]["id"]
        assert problems.cancel_problem(waiting).status == "CANCELLED"
        with pytest.raises(ResourceConflictError, match="Problem has been finished"):
            problems.cancel_problem(waiting)
    assert frozen.delete(f"problems/{running}").status_code == 202
    assert frozen.get(f"problems/{running}").json()["status"] == "IN_PROGRESS"
    assert frozen.get(f"problems/{waiting}/answer").status_code == 404


@pytest.mark.parametrize("body", ["[]", "{}", '"x"', "[1]", ""])
def test_a_cancellation_names_problems(emulator: Emulator, body: str) -> None:
    answer = emulator.delete("problems/", data=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, 400)


@pytest.mark.parametrize(
    "path",
    [
        "problems/?id={id}",
        "problems/{id}",
        "problems/{id}/",
        "problems/?label={label}",
        "problems/?status=PENDING",
    ],
)
def test_requests_without_a_timeout_wait_up_to_a_second(frozen: Emulator, path: str) -> None:
    label = uuid4().hex
    name = frozen.post([frozen.job(label=label)]).json()[0]["id"]
    started = time.monotonic()
    assert frozen.get(path.format(id=name, label=label)).status_code == 200
    assert time.monotonic() - started > 0.9
    frozen.delete(f"problems/{name}")


def test_requests_for_ended_problems_do_not_wait(emulator: Emulator) -> None:
    name = _completed(emulator)
    for path in (
        f"problems/?id={name}&timeout=30",
        f"problems/{name}",
        "problems/",
        "problems/?label=nothing",
    ):
        # A request that waits always takes a second; one that does not may be slow once or twice.
        assert any(_seconds(emulator, path) < 0.9 for _ in range(5)), path


def _seconds(emulator: Emulator, path: str) -> float:
    started = time.monotonic()
    assert emulator.get(path).status_code == 200
    return time.monotonic() - started


@pytest.mark.parametrize("timeout", ["0", "31", "1.5", "x", ""])
def test_a_timeout_is_1_to_30_seconds(emulator: Emulator, timeout: str) -> None:
    name = _completed(emulator)
    for path in (f"problems/{name}?timeout={timeout}", f"problems/?id={name}&timeout={timeout}"):
        assert emulator.get(path).status_code == 400


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("problems", "problems/"), ("problem", "problems/{id}"), ("problem-data", "problems/{id}/info"),
        ("solver-definition", "solvers/remote/tiny"), ("solver-definition-list", "solvers/remote/"),
    ],
)  # fmt: skip
def test_only_version_3_is_spoken_whatever_else_accept_says(emulator: Emulator, kind: str, path: str) -> None:
    path = path.format(id=_completed(emulator))
    for accept in (_accept(kind), _accept(kind, "3.0.0"), _accept("problem-message"), {"Accept": "*/*"}, {}):
        answer = emulator.get(path, headers=accept)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == f"application/vnd.dwave.sapi.{kind}+json; version=3.0.0"
    refused = emulator.get(path, headers=_accept(kind, "2.1"))
    assert (refused.status_code, refused.json()["error_code"]) == (400, 400)


@pytest.mark.parametrize("kind", ["answer", "messages"])
def test_answers_and_messages_exist_in_an_older_version(emulator: Emulator, kind: str) -> None:
    path = f"problems/{_completed(emulator)}/{kind}"
    media = "problem-answer" if kind == "answer" else "problem-message"
    for asked, version in (("2.1", "2.1.0"), ("3", "3.0.0")):
        answer = emulator.get(path, headers=_accept(media, asked))
        assert answer.headers["Content-Type"].endswith(f"{media}+json; version={version}")


def test_definitions_may_be_cached_as_long_as_their_shortest_lived_field(tmp_path: Path) -> None:
    with Emulator("--max-age=3600") as emulator:
        ages = [
            emulator.get("solvers/remote/", params={"filter": fields}).headers["Cache-Control"]
            for fields in (
                "all,-status,-avg_load",
                "none,+identity,+status",
                "all",
                "none,+properties.qubits",
            )
        ]
        assert ages == [f"private, max-age={age}" for age in (3600, 30, 30, 3600)]
        cache = {"enabled": True, "home": str(tmp_path)}
        with Solvers(endpoint=emulator.endpoint, token=TOKEN, cache=cache, history_size=2) as solvers:
            first = solvers.list_solvers(filter="none,+identity")
            emulator.break_down(regraph=[SOLVER])
            assert solvers.list_solvers(filter="none,+identity") == first
            assert len(solvers.session.history) == 1
            assert solvers.list_solvers(filter="none,+identity", refresh_=True) != first


def test_a_problem_was_submitted_by_its_token(problems: Problems, emulator: Emulator) -> None:
    assert problems.get_problem_info(_completed(emulator)).metadata.submitted_by == TOKEN


def test_another_client_retrieves_an_answer_by_its_id(emulator: Emulator, solver: StructuredSolver) -> None:
    future = solver.sample_ising(dict.fromkeys(solver.nodes, -1.0), {})
    sapi_id = future.wait_id()
    with Client.from_config(client="qpu", **emulator.config) as other:
        assert other.retrieve_answer(sapi_id).result()["energies"] == future.result()["energies"]
        with pytest.raises(SolverError, match="does not exist"):
            other.retrieve_answer("invalid_id").result()


def test_twice_the_anneal_allows_half_of_the_reads(solver: StructuredSolver) -> None:
    annealing_time = 10 * solver.properties["default_annealing_time"]
    reads = solver.max_num_reads(annealing_time=annealing_time)
    assert solver.max_num_reads(annealing_time=2 * annealing_time) == reads // 2


def test_a_batch_is_solved_or_cancelled(emulator: Emulator, solver: StructuredSolver) -> None:
    futures = [solver.sample_ising({min(solver.nodes): 1}, {}, num_reads=50) for _ in range(100)]
    for future in futures:
        future.cancel()
    for future in futures:
        try:
            assert sum(future.num_occurrences) == 50
        except CanceledFutureError:
            continue


# QPUs


def _most_reads(solver: StructuredSolver, qubits: int, anneal_us: float) -> int:
    """The most reads by D-Wave's formula."""
    data = solver.properties["problem_timing_data"]
    half = len(data["readout_time_model_parameters"]) // 2
    sizes, times = data["readout_time_model_parameters"][:half], data["readout_time_model_parameters"][half:]
    readout_us = 10 ** np.interp(np.log10(qubits), sizes, times)
    limit_us = solver.properties["problem_run_duration_range"][1] - data["default_programming_thermalization"]
    return int(limit_us / (anneal_us + data["default_readout_thermalization"] + readout_us))


@pytest.mark.parametrize("qubits", [261, 30])
def test_the_run_time_limit_counts_what_users_set_and_the_readout(
    solver: StructuredSolver, qubits: int
) -> None:
    h, most = dict.fromkeys(sorted(solver.nodes)[:qubits], 0.0), _most_reads(solver, qubits, 100)
    future = solver.sample_ising(h, {}, num_reads=most, annealing_time=100)
    assert future.timing["qpu_access_time"] > 1_000_000
    with pytest.raises(SolverFailureError, match=r"exceeded: 1000\d{3} > 1000000; ask for fewer num_reads"):
        solver.sample_ising(h, {}, num_reads=most + 1, annealing_time=100).result()


def test_a_full_advantage_takes_5176_reads() -> None:
    with Emulator("--solver=emulator-pegasus", samples="instant") as emulator:
        data = {"format": "qp", "lin": base64_of([0.0] * 5612), "quad": base64_of([0.0] * 40_088)}
        jobs = [emulator.job(data=data, params={"num_reads": reads}) for reads in (5176, 5177)]
        accepted, refused = emulator.post(jobs).json()
    assert "id" in accepted
    assert refused["error_code"] == 400


def test_an_advantage2_limits_groups_of_couplers_and_has_no_decorrelation(client: Client) -> None:
    solver = client.get_solver(name=ZEPHYR)
    properties = solver.properties
    assert properties["per_group_coupling_range"] == [-13.0, 10.0]
    assert "per_qubit_coupling_range" not in properties
    assert properties["problem_timing_data"]["decorrelation_time_range"] == [0, 0]
    plain, reduced = (
        solver.sample_ising({min(solver.nodes): 1}, {}, reduce_intersample_correlation=flag).timing
        for flag in (False, True)
    )
    assert plain == reduced


@pytest.mark.parametrize("name", [SOLVER, ZEPHYR, "c"])
def test_parameters_are_those_of_the_family(client: Client, name: str) -> None:
    solver = client.get_solver(name=name)
    assert not {"max_answers", "num_spin_reversal_transforms", "anneal_offsets"} & set(solver.parameters)
    assert ("fast_anneal" in solver.parameters) == (name != "c")
    assert ("fast_anneal_time_range" in solver.properties) == (name != "c")
    with pytest.raises(KeyError):
        solver.sample_ising({min(solver.nodes): 1}, {}, anneal_offsets=[0] * solver.num_qubits)


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"anneal_offsets": [0]}, 403, "no anneal_offset_ranges"),
        ({"max_answers": 5}, 403, "max_answers is obsolete"),
        ({"num_spin_reversal_transforms": 5}, 403, "is obsolete"),
        ({"x_test": 5}, 400, "'x_test' is not a parameter"),
        ({"fast_anneal": 1}, 400, "fast_anneal must be true or false"),
        ({"fast_anneal": True, "annealing_time": 0.001}, 400, "0.005 to 2000"),
        ({"annealing_time": 0.01}, 400, "0.5 to 2000"),
        ({"fast_anneal": True, "anneal_schedule": [[0, 0], [1, 0.5], [2, 1]]}, 400, "2 to 2 points"),
        (
            {"fast_anneal": True, "anneal_schedule": [[0, 1], [1, 1]], "initial_state": [1] * 288},
            400,
            "reverse",
        ),
        ({"fast_anneal": True, "h_gain_schedule": [[0, 1], [20, 1]]}, 400, "exclude each other"),
        ({"h_gain_schedule": [[0, 1], [19, 1]]}, 400, "the end of the anneal, 20 us"),
        ({"h_gain_schedule": [[0, 1], [20, 5]]}, 400, "gains -4 to 4"),
        ({"h_gain_schedule": [[0, 0], [0.001, 4], [20, 1]]}, 400, "slope may be 400"),
        ({"h_gain_schedule": [[0, 1]] * 21}, 400, "2 to 20 points"),
        ({"flux_biases": [0] * 288, "auto_scale": True}, 400, "exclude each other"),
        ({"flux_biases": [True] * 288}, 400, "288 numbers"),
    ],
)
def test_what_is_not_modelled_or_wrong_is_refused_by_name(
    emulator: Emulator, params: dict[str, Any], code: int, message: str
) -> None:
    (refused,) = emulator.post([emulator.job(params=params)]).json()
    assert refused["error_code"] == code
    assert message in refused["error_msg"]


def test_a_fast_anneal_has_its_own_times_and_no_h(solver: StructuredSolver) -> None:
    u, v = min(solver.edges)
    future = solver.sample_ising({}, {(u, v): -1}, fast_anneal=True, annealing_time=0.008, num_reads=10)
    assert future.timing["qpu_anneal_time_per_sample"] == 0.008
    for problem in (({u: 0.1}, {}), ({u: 0.0}, {(u, v): 0.0})):
        future = solver.sample_ising(*problem, fast_anneal=True)
        if any(problem[0].values()):
            with pytest.raises(SolverFailureError, match="every h to be 0"):
                future.result()
        else:
            assert future.result()
    with pytest.raises(SolverFailureError, match="every h to be 0"):
        solver.sample_qubo({(u, u): 1.0}, fast_anneal=True).result()


def test_flux_biases_act_like_h_of_the_other_sign(solver: StructuredSolver) -> None:
    a, b = sorted(solver.nodes)[:2]
    biases = [0.0] * solver.num_qubits
    biases[a], biases[b] = h_to_fluxbias(0.2), h_to_fluxbias(-0.2)
    future = solver.sample_ising({a: 0, b: 0}, {}, num_reads=4000, answer_mode="raw", flux_biases=biases)
    means = future.sampleset.record.sample.mean(axis=0)
    assert set(future.sampleset.record.energy) == {0}
    direct = solver.sample_ising({a: 0.2, b: -0.2}, {}, num_reads=4000, answer_mode="raw", auto_scale=False)
    # Four standard deviations of a mean of 4,000 spins of both signs.
    np.testing.assert_allclose(means, direct.sampleset.record.sample.mean(axis=0), atol=4 * (2 / 4000) ** 0.5)
    assert means[0] < -0.5
    # Biases switch auto_scale off, so h is not stretched to its range, and has to be in it.
    with pytest.raises(SolverFailureError, match="h must be -4 to 4"):
        solver.sample_ising({a: 5.0}, {}, flux_biases=biases).result()


def test_the_gain_of_h_changes_reads_but_not_energies(emulator: Emulator, solver: StructuredSolver) -> None:
    node = min(solver.nodes)
    options = {"num_reads": 2000, "auto_scale": False, "answer_mode": "raw"}
    means = []
    for gain in (1, 0, -1):
        schedule = [[0, gain], [20, gain]]
        sampleset = solver.sample_ising({node: 0.2}, {}, h_gain_schedule=schedule, **options).sampleset
        means.append(float(sampleset.record.sample.mean()))
        np.testing.assert_allclose(sampleset.record.energy, 0.2 * sampleset.record.sample[:, 0])
    assert means[0] < -0.5 < abs(means[1]) + 0.4 < 0.5 < means[2]
    with pytest.raises(SolverFailureError, match="h times its gain must be -4 to 4"):
        solver.sample_ising({node: 2.0}, {}, h_gain_schedule=[[0, 1], [20, 3]], auto_scale=False).result()
    with DWaveSampler(**{**emulator.config, "solver": {"h_gain_schedule": True, "name": SOLVER}}) as sampler:
        schedule = ramp(0.5, 0.2, sampler.properties["default_annealing_time"])
        sampler.validate_anneal_schedule(schedule)
        h = dict.fromkeys(sampler.nodelist, 1)
        assert len(sampler.sample_ising(h, {}, h_gain_schedule=schedule)) == 1


def test_a_reverse_anneal_is_raw_and_begins_anew_unless_it_says_otherwise(solver: StructuredSolver) -> None:
    nodes = sorted(solver.nodes)[:10]
    bqm = dimod.BinaryQuadraticModel.from_ising(dict.fromkeys(nodes, 0.0), {})
    reverse = {
        "anneal_schedule": [[0.0, 1.0], [5.0, 0.45], [10.0, 1.0]],
        "initial_state": dict.fromkeys(nodes, 1),
        "num_reads": 20,
    }
    default = solver.sample_bqm(bqm, **reverse)
    assert "num_occurrences" not in default.result()
    assert len(default.result()["energies"]) == 20
    assert "num_occurrences" in solver.sample_bqm(bqm, answer_mode="histogram", **reverse).result()
    times = {
        flag: solver.sample_bqm(bqm, reinitialize_state=flag, **reverse).timing["qpu_access_time"]
        for flag in (True, False)
    }
    assert default.timing["qpu_access_time"] == times[True] != times[False]
    estimate = solver.estimate_qpu_access_time(10, reinitialize_state=True, **reverse)
    assert times[True] == estimate


def test_a_reverse_schedule_has_one_point_more(emulator: Emulator) -> None:
    def schedule(points: int, first: float) -> list[list[float]]:
        middle = [[float(number), 0.5] for number in range(1, points - 1)]
        return [[0.0, first], *middle, [float(points), 1.0]]

    state = [1] * 288
    for points, first, accepted in ((12, 0, True), (13, 0, False), (13, 1, True), (14, 1, False)):
        params: dict[str, Any] = {"anneal_schedule": schedule(points, first)}
        if first:
            params["initial_state"] = state
        (result,) = emulator.post([emulator.job(params=params)]).json()
        assert ("id" in result) == accepted, json.dumps(result)
