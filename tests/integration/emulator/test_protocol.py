"""The emulator as D-Wave's own, unmodified client sees it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
import requests
from dwave.cloud import Client
from dwave.cloud.api import Problems
from dwave.cloud.api.exceptions import ResourceAuthenticationError, ResourceNotFoundError
from dwave.cloud.api.models import ProblemJob
from dwave.cloud.exceptions import SolverFailureError, SolverNotFoundError
from dwave.cloud.solver import StructuredSolver
from dwave.system import DWaveSampler, FixedEmbeddingComposite

from tests.emulators import SOLVER, TOKEN, Emulator, base64_of, wait_until


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One that takes no time; tests must not mind each other's problems."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Iterator[Client]:
    with Client.from_config(client="qpu", **emulator.config) as connected:
        yield connected


@pytest.fixture(scope="module")
def solver(client: Client) -> StructuredSolver:
    return client.get_solver(name=SOLVER)


@pytest.fixture
def problems(emulator: Emulator) -> Iterator[Problems]:
    with Problems.from_config(**emulator.config) as api:
        yield api


def _random_bqm(solver: StructuredSolver, vartype: str, qubits: int, seed: int) -> dimod.BinaryQuadraticModel:
    """Random biases on some qubits and on all couplers between them, with an offset."""
    random = np.random.default_rng(seed)
    chosen = sorted(random.choice(sorted(solver.nodes), qubits, replace=False).tolist())
    linear = {qubit: float(random.normal()) for qubit in chosen}
    pairs = [pair for pair in sorted(solver.undirected_edges) if set(pair) <= set(chosen)]
    quadratic = {pair: float(random.normal()) for pair in pairs}
    return dimod.BinaryQuadraticModel(linear, quadratic, 1.5, vartype)


def test_the_sampler_of_dwave_system_finds_an_embedded_ground_state(emulator: Emulator) -> None:
    with DWaveSampler(**emulator.config) as sampler:
        a, b, c = _triangle(sampler)
        embedded = FixedEmbeddingComposite(sampler, {"x": [a], "y": [b], "z": [c]})
        h, J = {"x": 0.5}, {("x", "y"): 1.0, ("y", "z"): -1.0, ("x", "z"): 1.0}
        samples = embedded.sample_ising(h, J, num_reads=100, label="triangle")
        assert samples.first.sample == {"x": -1, "y": 1, "z": 1}
        assert samples.first.energy == -3.5
        assert samples.record.num_occurrences.sum() == 100
        assert sampler.to_networkx_graph().number_of_nodes() == len(sampler.nodelist) == 261


def _triangle(sampler: DWaveSampler) -> tuple[int, int, int]:
    a, b = sampler.edgelist[0]
    return a, b, min(set(sampler.adjacency[a]) & set(sampler.adjacency[b]))


@pytest.mark.parametrize("mode", ["raw", "histogram"])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_energies_are_those_of_the_submitted_problem(
    solver: StructuredSolver, vartype: str, mode: str
) -> None:
    bqm = _random_bqm(solver, vartype, 60, 1)
    samples = solver.sample_bqm(bqm, num_reads=40, answer_mode=mode).sampleset
    assert set(samples.variables) == set(bqm.variables)
    np.testing.assert_allclose(samples.record.energy, bqm.energies(samples))
    assert samples.record.num_occurrences.sum() == 40
    if mode == "histogram":
        assert (np.diff(samples.record.energy) >= 0).all()
        assert len(np.unique(samples.record.sample, axis=0)) == len(samples)


def test_raw_and_histogram_tell_the_same_reads(solver: StructuredSolver) -> None:
    bqm = _random_bqm(solver, "SPIN", 60, 2)
    raw = solver.sample_bqm(bqm, num_reads=50, answer_mode="raw")
    histogram = solver.sample_bqm(bqm, num_reads=50, answer_mode="histogram")
    assert "num_occurrences" not in raw.result()
    unique = raw.sampleset.aggregate()
    np.testing.assert_allclose(sorted(unique.record.energy), histogram.sampleset.record.energy)
    assert len(histogram.sampleset) == len(unique)


def test_the_same_problem_has_the_same_reads_and_another_one_others(solver: StructuredSolver) -> None:
    first, again, other = (
        solver.sample_bqm(_random_bqm(solver, "SPIN", 50, seed), num_reads=20, answer_mode="raw").sampleset
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.record.sample, again.record.sample)
    assert not np.array_equal(first.record.sample, other.record.sample)


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_reads": 100},
        {"num_reads": 7, "annealing_time": 123.4},
        {"num_reads": 3, "anneal_schedule": [[0.0, 0.0], [10.0, 0.5], [12.0, 1.0]]},
        {"num_reads": 9, "programming_thermalization": 17.0, "readout_thermalization": 3.0},
        {"num_reads": 5, "reduce_intersample_correlation": True},
    ],
)
def test_what_the_client_estimates_is_what_is_charged(
    emulator: Emulator, solver: StructuredSolver, parameters: dict[str, Any]
) -> None:
    bqm = _random_bqm(solver, "SPIN", 77, 5)
    future = solver.sample_bqm(bqm, **parameters)
    estimate = solver.estimate_qpu_access_time(77, **parameters)
    assert future.timing["qpu_access_time"] == estimate
    charged = {entry["id"]: entry["charged_us"] for entry in emulator.ledger()["problems"]}
    assert charged[future.id] == round(estimate, 1)


@pytest.mark.parametrize("reinitialize", [True, False])
def test_reverse_annealing_is_charged_as_estimated_and_begins_where_it_is_told(
    solver: StructuredSolver, reinitialize: bool
) -> None:
    bqm = dimod.BinaryQuadraticModel.from_ising(dict.fromkeys(sorted(solver.nodes)[:30], 0.0), {})
    schedule = [[0.0, 1.0], [5.0, 0.99], [10.0, 1.0]]
    state = {qubit: 1 if qubit % 2 else -1 for qubit in bqm.variables}
    for qubit, spin in state.items():
        bqm.add_linear(qubit, -float(spin))
    parameters = {"anneal_schedule": schedule, "initial_state": state, "reinitialize_state": reinitialize}
    future = solver.sample_bqm(bqm, **parameters)
    estimate = solver.estimate_qpu_access_time(30, reverse_anneal=True, **parameters)
    assert future.timing["qpu_access_time"] == estimate
    assert future.sampleset.first.sample == state


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_reads": 10_001}, "num_reads must be 1 to 10,000, not 10,001"),
        ({"annealing_time": 5000}, "annealing_time must be 0.5 to 2000, not 5000"),
        (
            {"num_reads": 10_000, "annealing_time": 1000},
            r"timing related parameters exceeded: 10\d{6} > 1000000",
        ),
        ({"auto_scale": False}, "h must be -4 to 4 without auto_scale, not 5"),
        ({"answer_mode": "best"}, "answer_mode must be histogram or raw, not 'best'"),
        ({"x_secret": 1}, "'x_secret' is not a parameter"),
    ],
)
def test_a_refused_problem_names_the_value_and_the_limit_and_costs_nothing(
    emulator: Emulator, solver: StructuredSolver, parameters: dict[str, Any], message: str
) -> None:
    before = emulator.ledger()["totals"]
    future = solver.sample_ising({min(solver.nodes): 5.0}, {}, **parameters)
    with pytest.raises(SolverFailureError, match=message):
        future.result()
    assert emulator.ledger()["totals"] == before


def test_one_bad_problem_of_a_post_does_not_harm_the_others(emulator: Emulator) -> None:
    good, bad = emulator.job(), emulator.job(params={"num_reads": 0})
    first, second, third, fourth = emulator.post([good, bad, 7, good]).json()
    assert first["status"] in {"PENDING", "IN_PROGRESS", "COMPLETED"}
    assert fourth["id"] != first["id"]
    assert second == {"error_code": 400, "error_msg": "num_reads must be 1 to 10,000, not 0"}
    assert third["error_code"] == 400


def test_solvers_are_found_by_name_and_by_property(client: Client, solver: StructuredSolver) -> None:
    assert [found.name for found in client.get_solvers(topology__type="pegasus", qpu=True)] == [SOLVER]
    assert client.get_solver(identity=solver.identity.dict()).graph_id == solver.graph_id
    with pytest.raises(SolverNotFoundError):
        client.get_solver(name="another")


def test_a_solver_is_sent_once_while_it_stays_as_it_is(emulator: Emulator) -> None:
    first = emulator.get(f"solvers/remote/{SOLVER}/", params={"filter": "all,-status,-avg_load"})
    assert set(first.json()) == {"identity", "description", "properties"}
    assert first.headers["Cache-Control"] == "private, max-age=0"
    again = emulator.get(
        f"solvers/remote/{SOLVER}",
        params={"filter": "all,-status,-avg_load"},
        headers={"If-None-Match": first.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    moving = emulator.get("solvers/remote/", params={"filter": "none,+identity,+status,+avg_load"}).json()
    assert moving == [{"identity": first.json()["identity"], "status": "ONLINE", "avg_load": 0.0}]


def test_a_cached_solver_is_sent_again_while_a_field_is_hidden(emulator: Emulator) -> None:
    def ask(etag: str = "") -> requests.Response:
        return emulator.get(f"solvers/remote/{SOLVER}", headers={"If-None-Match": etag})

    whole = ask()
    emulator.break_down({"target": "solvers", "kind": "hide", "path": "properties.h_range"})
    hidden = ask(whole.headers["ETag"])
    assert (hidden.status_code, "h_range" in hidden.json()["properties"]) == (200, False)
    assert ask(hidden.headers["ETag"]).status_code == 304
    emulator.break_down(clear=True)
    assert ask(hidden.headers["ETag"]).json() == whole.json()


def test_the_low_level_client_submits_asks_and_is_answered(emulator: Emulator, problems: Problems) -> None:
    job = ProblemJob(**emulator.job(label="low level", params={"num_reads": 5}))
    done = problems.submit_problem(job)
    assert done.status == "COMPLETED"
    assert done.answer is not None
    assert problems.get_problem_answer(done.id) == done.answer
    assert problems.get_problem(done.id).answer == done.answer
    assert problems.get_problem_status(done.id, timeout=1).status == "COMPLETED"
    info = problems.get_problem_info(done.id)
    assert ProblemJob.from_info(info) == job
    assert info.metadata.status == "COMPLETED"
    assert problems.get_problem_messages(done.id) == []
    first, second = problems.submit_problems([job, ProblemJob(**emulator.job(params={"num_reads": -1}))])
    assert wait_until(lambda: problems.get_problem_status(first.id, timeout=5).status == "COMPLETED")
    assert second.error_code == 400
    assert [item.error_code for item in problems.cancel_problems([first.id, "nothing"])] == [409, 404]
    with pytest.raises(ResourceNotFoundError, match=r"does not exist .*: 'nothing'"):
        problems.get_problem("nothing")


def test_raw_answers_can_count_for_the_low_level_client() -> None:
    # Its model of an answer wants num_occurrences, which raw answers do not have by themselves.
    with Emulator("--raw-occurrences") as emulator, Problems.from_config(**emulator.config) as problems:
        job = ProblemJob(**emulator.job(params={"num_reads": 5, "answer_mode": "raw"}))
        done = problems.submit_problem(job)
        answer = problems.get_problem_answer(done.id)
    assert np.frombuffer(base64.b64decode(answer.num_occurrences), "<i4").tolist() == [1] * 5


def test_a_compressed_and_chunked_post_is_understood(emulator: Emulator) -> None:
    config = {**emulator.config, "compress_qpu_problem_data": True}
    with Problems.from_config(**config) as api:
        assert api.submit_problem(ProblemJob(**emulator.job())).status == "COMPLETED"
    with Client.from_config(client="qpu", **config) as client:
        solver = client.get_solver(name=SOLVER)
        assert len(solver.sample_ising({min(solver.nodes): 1}, {}).sampleset) == 1


def test_problems_are_listed_by_a_part_of_their_label(emulator: Emulator, problems: Problems) -> None:
    jobs = [emulator.job(label=label) for label in ("batch-1:a", "batch-1:b", "batch-11:c", "other")]
    ids = [item["id"] for item in emulator.post(jobs).json()]
    wait_until(lambda: all(status.status == "COMPLETED" for status in problems.get_problem_statuses(ids)))
    assert [found.id for found in problems.list_problems(label="batch-1")] == ids[2::-1]
    assert [found.id for found in problems.list_problems(label="batch-1", max_results=1)] == [ids[2]]
    assert problems.list_problems(label="batch-1", status="PENDING") == []
    assert [found.label for found in problems.list_problems(label="batch-11", solver=SOLVER)] == [
        "batch-11:c"
    ]
    assert problems.list_problems(label="batch-1:") != problems.list_problems(label="batch%1")


def test_another_token_sees_nothing_and_no_token_is_refused(emulator: Emulator) -> None:
    (problem,) = emulator.post([emulator.job()]).json()
    other = {"X-Auth-Token": "another"}
    assert emulator.get(f"problems/{problem['id']}", headers=other).status_code == 404
    assert emulator.get("problems/", headers=other).json() == []
    nobody = emulator.get("problems/", headers={"X-Auth-Token": ""})
    assert (nobody.status_code, nobody.json()["error_code"]) == (401, 401)


def test_only_the_set_token_is_accepted_and_it_is_kept_nowhere(tmp_path: Path) -> None:
    with Emulator(f"--token={TOKEN}", f"--state={tmp_path / 'state'}") as emulator:
        with Client.from_config(client="qpu", **emulator.config) as client:
            solver = client.get_solver(name=SOLVER)
            assert len(solver.sample_ising({min(solver.nodes): 1}, {}).sampleset) == 1
        assert emulator.post([emulator.job()], headers={"X-Auth-Token": "wrong"}).status_code == 401
        with (
            Problems.from_config(**{**emulator.config, "token": "wrong"}) as stranger,
            pytest.raises(ResourceAuthenticationError, match="invalid token"),
        ):
            stranger.list_problems()
        assert emulator.ledger()["totals"]["accepted"] == 1
    files = list(tmp_path.iterdir())
    assert TOKEN.encode() not in b"".join(file.read_bytes() for file in files)
    assert not any(file.stat().st_mode & 0o077 for file in files)


def test_a_whole_chip_is_sampled() -> None:
    with Emulator("--solver=emulator-pegasus", samples="instant") as emulator:
        definition = emulator.properties("emulator-pegasus")
        assert len(definition["properties"]["qubits"]) == 5612
        data = {"format": "qp", "lin": base64_of([1.0] * 5612), "quad": base64_of([0.5] * 40_088)}
        job = emulator.job(solver=definition["identity"], data=data, params={"num_reads": 10})
        answer = emulator.post(job).json()["answer"]
    assert answer["num_variables"] == 5760
    assert len(base64.b64decode(answer["solutions"])) == 10 * -(-5612 // 8)
