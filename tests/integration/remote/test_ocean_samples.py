"""Stored reads as sample sets of Ocean, judged by dimod, dwave.embedding and dwave.inspector."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dimod
import dwave.embedding
import numpy as np
import pytest
from dwave.system.warnings import WarningAction, WarningHandler
from sqlalchemy import delete, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import samples
from schema.database import Database
from schema.errors import AnnealqError, Corrupt, NotFound, ParameterError
from schema.messages import Message, Task
from schema.parameters import Gauge, Parameters, Round, SampleSetRequest, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.tables import Classification, Problem, Run, SampleSet
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, Outbox, some_images, work_off
from worker.context import Context
from worker.ocean.chips import StoredChip
from worker.ocean.sample_sets import to_json
from worker.pipeline.sample_sets.build import build_sample_set

IMAGES, TILES, FIRST, LATER = 6, 3, 5, 30
PARAMETERS = Parameters(
    reads=FIRST,
    rounds=(Round(LATER, 100.0, 0.3),),
    tiles=TILES,
    qpu="tiny",
    visible=Visible.FOLDED,
    gauge=Gauge.UNIT,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def context(database: Database, outbox: Outbox, server: Emulator) -> Iterator[Context]:
    made = Context(database, WorkerSettings(retry_base_s=0.01, quarantine_s=0.2), outbox)
    made.solvers.shared = load_settings(emulator_url=server.endpoint, emulator_token=TOKEN)
    yield made
    made.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def classify(context: Context, network: ChosenNetwork, parameters: Parameters = PARAMETERS) -> int:
    options = RunOptions(batch_size=IMAGES)
    run = enqueue_run(context.database, some_images(IMAGES), network, Solver.EMULATOR, parameters, options).id
    work_off(context, Message(Task.DISPATCH))
    return run


def built(context: Context, run: int, **request: Any) -> str:
    """The text of the file."""
    with context.database.reading() as session:
        wanted = SampleSetRequest(**request)
        return to_json(build_sample_set(session, run, wanted, context.networks, context.backbones))


def sample_set(context: Context, run: int, **request: Any) -> dimod.SampleSet:
    return dimod.SampleSet.from_serializable(json.loads(built(context, run, **request)))


def model_of(found: dimod.SampleSet) -> dimod.BinaryQuadraticModel:
    return dimod.BinaryQuadraticModel.from_serializable(found.info["bqm"])


def problems_of(context: Context) -> list[Problem]:
    with context.database.reading() as session:
        rows = list(session.execute(select(Problem).order_by(Problem.id)).scalars())
        session.expunge_all()
    return rows


def stored_reads(context: Context, problem: int) -> samples.RawReads:
    with context.database.reading() as session:
        query = select(SampleSet.data).where(SampleSet.problem_id == problem)
        return samples.decode(session.execute(query).scalar_one())


def one_round(context: Context, network: ChosenNetwork, **more: Any) -> int:
    """A run whose weak chains break, with all images read once."""
    chosen = replace(PARAMETERS, rounds=None, reads=40, chain_strength=0.25, **more)
    return classify(context, network, chosen)


def test_energies_are_those_of_the_model_and_qubits_have_those_that_the_solver_returned(
    context: Context, working: ChosenNetwork
) -> None:
    run = classify(context, working)
    again = 0
    for image in range(IMAGES):
        found = sample_set(context, run, image=image)
        np.testing.assert_allclose(model_of(found).energies(found), found.record.energy, rtol=0, atol=1e-9)
        with context.database.reading() as session:
            where = (Classification.run_id == run, Classification.image == image)
            columns = (Classification.reads, Classification.lowest_energy)
            reads, lowest = session.execute(select(*columns).where(*where)).one()
        assert (len(found), found.first.energy) == (reads, pytest.approx(lowest, abs=1e-5))
        if len(found.info["annealq"]["problems"]) > 1:
            again += 1
            assert "embedding_context" not in found.info
            assert Counter(found.record.problem.tolist()).total() == FIRST + LATER
            alone = sample_set(context, run, image=image, round=2)
            assert alone.info["embedding_context"]["embedding"]
            np.testing.assert_array_equal(alone.record.sample, found.record.sample[FIRST:])
            with pytest.raises(ParameterError, match=r"rounds 1, 2.*choose one with `round`"):
                sample_set(context, run, image=image, physical=True)
    assert again == TILES
    for problem in problems_of(context):
        # In a gauge of units, with chains balanced and the bias of the couplers made up for.
        physical, raw = (
            sample_set(context, run, problem=problem.id, physical=True),
            stored_reads(context, problem.id),
        )
        assert physical.vartype is dimod.SPIN
        np.testing.assert_allclose(physical.record.energy, raw.energies[0], rtol=1e-6)
        whole = sample_set(context, run, problem=problem.id)
        np.testing.assert_allclose(model_of(whole).energies(whole), whole.record.energy, rtol=0, atol=1e-9)
        parts = [
            sample_set(context, run, image=k, round=problem_round(found)) for k, found in images_of(whole)
        ]
        total = sum(part.record.energy for part in parts)
        np.testing.assert_allclose(whole.record.energy, total, rtol=0, atol=1e-5)  # as sent, with its batch


def images_of(found: dimod.SampleSet) -> list[tuple[int, dimod.SampleSet]]:
    return [(image, found) for image in found.info["annealq"]["images"]]


def problem_round(found: dimod.SampleSet) -> int:
    return int(found.info["annealq"]["problems"][0]["round"])


@pytest.mark.parametrize(
    ("rule", "method"),
    [
        (Unembedding.MAJORITY_VOTE, dwave.embedding.majority_vote),
        (Unembedding.DISCARD, dwave.embedding.discard),
    ],
)
def test_ocean_unembeds_the_qubits_to_the_units(
    context: Context, working: ChosenNetwork, rule: Unembedding, method: Callable[..., Any]
) -> None:
    run = one_round(context, working, unembedding=rule)
    broken = 0
    for image in range(IMAGES):
        units, qubits = (
            sample_set(context, run, image=image),
            sample_set(context, run, image=image, physical=True),
        )
        chains = qubits.info["embedding_context"]["embedding"]
        assert units.info["embedding_context"] == qubits.info["embedding_context"]
        assert units.info["embedding_context"]["chain_break_method"] == method.__name__
        source = model_of(units)
        # An image that is computed with its batch, as it was sent, has other last bits of a float32.
        sent = dimod.BinaryQuadraticModel.from_serializable(qubits.info["annealq"]["source_bqm"])
        assert sent.is_almost_equal(source, places=5)
        ours = dwave.embedding.unembed_sampleset(
            qubits.change_vartype(dimod.BINARY, inplace=False),
            chains,
            source,
            method,
            chain_break_fraction=True,
        )
        order = [list(ours.variables).index(name) for name in units.variables]
        np.testing.assert_array_equal(ours.record.sample[:, order], units.record.sample)
        np.testing.assert_allclose(ours.record.energy, units.record.energy, rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours.record.chain_break_fraction, units.record.chain_break_fraction)
        broken += int(qubits.record.chain_break_fraction.any())
        handler = WarningHandler(WarningAction.SAVE)
        handler.chain_length(chains)
        handler.chain_strength(source.spin, units.info["embedding_context"]["chain_strength"], chains)
        names = [entry["type"] for entry in units.info["annealq"]["warnings"]]
        expected = [entry["type"].__name__ for entry in handler.saved]
        assert [name for name in names if name in ("ChainLengthWarning", "ChainStrengthWarning")] == sorted(
            expected, reverse=True
        )
    assert broken > 0


def test_h_and_J_on_the_chip_are_those_of_the_embedded_model(
    context: Context, working: ChosenNetwork
) -> None:
    run = one_round(context, working)
    qubits = sample_set(context, run, image=2, physical=True)
    details, chains = qubits.info["annealq"], qubits.info["embedding_context"]["embedding"]
    scale, strength = (details["problems"][0][name] for name in ("scale", "chain_strength"))
    source = dimod.BinaryQuadraticModel.from_serializable(details["source_bqm"]).spin
    sent = model_of(qubits)
    owner = {qubit: name for name, chain in chains.items() for qubit in chain}
    J: Counter[frozenset[str]] = Counter()
    for (first, second), bias in sent.quadratic.items():
        if owner[first] == owner[second]:
            assert bias == pytest.approx(-scale * strength)
        else:
            J[frozenset((owner[first], owner[second]))] += bias
    assert {frozenset(pair): pytest.approx(scale * bias) for pair, bias in source.quadratic.items()} == J
    h = {name: sum(sent.linear[qubit] for qubit in chain) for name, chain in chains.items()}
    assert h == {name: pytest.approx(scale * bias) for name, bias in source.linear.items()}


def test_the_inspector_takes_it_offline(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    adapters = pytest.importorskip("dwave.inspector.adapters", reason="dwave-inspector is not installed")
    run = one_round(context, working)
    cli("runs", "samples", run, "--image", 1, "--output", tmp_path / "samples.json")
    cli("embeddings", "chip", "tiny", "--output", tmp_path / "chip.json")
    text = (tmp_path / "samples.json").read_text()
    found, chip = dimod.SampleSet.from_serializable(json.loads(text)), StoredChip.read(tmp_path / "chip.json")
    data = adapters.from_objects(model_of(found), found, chip)
    assert data["details"]["id"] == found.info["problem_id"]
    assert data["details"]["label"] == found.info["problem_label"]
    assert data["data"]["data"]["embedding"] == {
        name: sorted(chain) for name, chain in found.info["embedding_context"]["embedding"].items()
    }
    assert data["answer"]["timing"] == found.info["timing"]
    assert data["unembedded_answer"]["num_occurrences"] == [1] * len(found)
    assert shown(data)["unembedded_answer"] == data["unembedded_answer"]

    qubits = sample_set(context, run, image=1, physical=True)
    sent = model_of(qubits)
    whole = adapters.from_objects((sent.linear, sent.quadratic), chip.response(qubits), found)
    answer = shown(whole)["answer"]
    assert answer["active_variables"] == sorted(qubits.variables)
    order = [list(qubits.variables).index(qubit) for qubit in answer["active_variables"]]
    # With broken chains, which units have no more.
    assert answer["solutions"] == qubits.record.sample[:, order].tolist()
    assert answer["energies"] == pytest.approx(qubits.record.energy)
    assert whole["details"]["submitted_on"] < whole["details"]["solved_on"]
    assert whole["data"]["stats"]["num_source_variables"] == len(found.variables)
    with pytest.raises(ParameterError, match="give that of `annealq runs samples RUN --physical`"):
        chip.response(found)
    assert built(context, run, image=1) + "\n" == text


def shown(data: dict[str, Any]) -> Any:
    """What the inspector's server sends to its page, which is not open source."""
    server = pytest.importorskip("dwave.inspector.server")
    problem = pytest.importorskip("dwave.inspector.storage").push_inspector_data(data)
    with server.app.test_client() as page:
        assert page.get(f"/api/problems/{problem}/solver").json["properties"]["num_qubits"] > 0
        return page.get(f"/api/problems/{problem}").json


def test_what_cannot_be_exported_is_refused(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    run = one_round(context, working)
    (problem, *_) = problems_of(context)
    output = tmp_path / "samples.json"
    with pytest.raises(NotFound, match="has no image 6; they are numbered from 0"):
        sample_set(context, run, image=IMAGES)
    with pytest.raises(NotFound, match="run 1 has no problem 99"):
        sample_set(context, run, problem=99)
    with pytest.raises(NotFound, match="no stored reads of image 1 in round 3"):
        sample_set(replace_rounds(context, run), run, image=1, round=3)
    with context.database.transaction() as session:
        session.execute(update(Problem).values(scale=2.0 * (problem.scale or 1.0)))
    with pytest.raises(AnnealqError, match="encoded by another version of annealq"):
        sample_set(context, run, image=1, physical=True)
    assert len(sample_set(context, run, image=1)) == 40
    with context.database.transaction() as session:
        session.execute(update(SampleSet).values(data=b"damaged"))
    with pytest.raises(Corrupt, match="sample set of problem 1"):
        sample_set(context, run, image=1)
    with context.database.transaction() as session:
        session.execute(delete(SampleSet))
    with pytest.raises(AnnealqError, match="removed by `annealq runs prune`"):
        cli("runs", "samples", run, "--image", 1, "--output", output)
    assert not list(tmp_path.glob("*samples*")) + list(tmp_path.glob(".annealq*"))
    for wrong in ({}, {"image": 1, "problem": 1}, {"problem": 1, "round": 1}, {"image": -1}):
        with pytest.raises(ParameterError):
            SampleSetRequest(**wrong)


def replace_rounds(context: Context, run: int) -> Context:
    """Let the run have rounds, of which none was read."""
    with context.database.transaction() as session:
        stored = session.execute(select(Run.parameters).where(Run.id == run)).scalar_one()
        rounds = PARAMETERS.to_dict()["rounds"]
        session.execute(update(Run).where(Run.id == run).values(parameters={**stored, "rounds": rounds}))
    return context
