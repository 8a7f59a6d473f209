"""Bundles of real runs: on the local annealer, and on an emulated QPU over HTTP."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.errors import InputError, NotFound
from schema.messages import Message, Task
from schema.parameters import Gauge, Parameters, Round, Rule, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.tables import Classification, Problem, Run, SampleSet
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, work_off
from tests.integration.proof.bundles import LICENCE, bundled, classify, contents, no_report, verified
from worker.context import Context
from worker.proof.collect import BundleOptions
from worker.proof.verify import Findings, verify
from worker.tools.bundle import bundle

QUBITS = Parameters(reads=20, qpu="tiny", visible=Visible.FOLDED, tiles=3)
ROUNDS = (Round(15, 100.0, 0.3),)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def qpu_context(database: Any, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, WorkerSettings(solver_timeout_s=5.0), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, QUBITS)
    emulator.break_down(clear=True)


def says(findings: Findings, *texts: str) -> bool:
    """Whether each of ``texts`` is in something that is proven."""
    return all(any(text in proven for proven in findings.proven) for text in texts)


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, False),
        ({"visible": Visible.FOLDED, "lam": 3.0}, True),
        ({"rule": Rule.BOLTZMANN}, True),
        ({"rounds": ROUNDS, "noise": 0.05}, True),
    ],
    ids=["sampled", "folded", "boltzmann", "rounds"],
)
def test_a_run_of_the_local_annealer_is_proven(
    context: Context, network: ChosenNetwork, tmp_path: Path, changes: dict[str, Any], images: bool
) -> None:
    run = classify(context, network, Solver.LOCAL, replace(Parameters(reads=10), **changes))
    path = tmp_path / "run.zip"
    findings = bundled(context, run, path, images=images)
    assert verified(path) == findings
    assert (findings.wrong, findings.signed_by) == ([], None)
    assert says(findings, "results of 25 images computed again", "figures of the statistics")
    assert says(findings, "features of 25 images follow from their pixels") == images
    assert any("only the SHA-256" in each for each in findings.unproven) != images
    with context.database.reading() as session:
        stored = session.execute(select(Run.statistics).where(Run.id == run)).scalar_one()
    assert json.loads(contents(path)["run.json"])["statistics"] == stored
    with zipfile.ZipFile(path) as opened:  # as other programs read it
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in contents(path)} == contents(path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gauge": Gauge.TILE},
        {"gauge": Gauge.UNIT, "unembedding": Unembedding.MINIMIZE_ENERGY},
        {"unembedding": Unembedding.WEIGHTED_RANDOM, "chain_strength": 0.5},
        {"unembedding": Unembedding.DISCARD, "scale": 0.3},
        {"rounds": ROUNDS},
    ],
    ids=["majority", "tile", "unit", "random", "discard", "rounds"],
)
def test_a_run_on_qubits_is_proven(
    qpu_context: Context, network: ChosenNetwork, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = classify(qpu_context, network, Solver.EMULATOR, replace(QUBITS, **changes))
    findings = bundled(qpu_context, run, tmp_path / "run.zip")
    with qpu_context.database.reading() as session:
        statistics = session.execute(select(Run.statistics).where(Run.id == run)).scalar_one()
    assert statistics is not None
    number = statistics["problems_sent"]
    assert number >= 10
    assert not findings.wrong
    assert says(findings, f"{number} problems built again: bit for bit", f"charges of {number} problems")
    assert findings.figures["charged_us"] == statistics["qpu_access_time_us"] > 0


def test_a_run_that_scores_another_one_again_is_proven_by_the_problems_of_that_one(
    qpu_context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = classify(qpu_context, network, Solver.EMULATOR, QUBITS)
    again = enqueue_rescored(qpu_context.database, run, {"reads": 7, "rule": Rule.ALL_READS_MEAN}).id
    with qpu_context.database.reading() as session:
        hints = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(qpu_context, *hints)
    findings = bundled(qpu_context, again, tmp_path / "run.zip")
    assert says(findings, "10 problems built again", "results of 25 images", "charges of 10 problems")
    assert findings.figures["charged_us"] > 0


def test_problems_without_a_digest_are_not_called_proven(
    qpu_context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = classify(qpu_context, network, Solver.EMULATOR, QUBITS)
    with qpu_context.database.transaction() as session:
        session.execute(update(Problem).where(Problem.ordinal == 0).values(sent_sha256=None))
    findings = bundled(qpu_context, run, tmp_path / "run.zip")
    assert says(findings, "7 problems built again")
    assert any("the bytes of 3 problems as sent" in each for each in findings.unproven)


def test_equal_runs_give_equal_bytes(context: Context, network: ChosenNetwork, tmp_path: Path) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=5))
    for name in ("a.zip", "b.zip"):
        bundled(context, run, tmp_path / name, images=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_that_cannot_be_proven_is_refused(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=5))
    path = tmp_path / "run.zip"
    with pytest.raises(NotFound, match="run 99 does not exist"):
        bundled(context, 99, path)
    with context.database.transaction() as session:
        session.execute(update(Classification).where(Classification.image == 3).values(lowest_energy=-1.5))
    with pytest.raises(InputError, match="another lowest_energy of 1 images; of image 3"):
        bundled(context, run, path)
    with context.database.transaction() as session:
        session.execute(update(Classification).values(reads=None))
    with pytest.raises(InputError, match=f"annealq runs rescore {run}"):
        bundled(context, run, path)
    with context.database.transaction() as session:
        session.execute(delete(SampleSet))
    with pytest.raises(InputError, match=f"the raw reads of run {run} were removed"):
        bundled(context, run, path)


def test_the_metadata_are_those_of_a_crate(context: Context, network: ChosenNetwork, tmp_path: Path) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=5))
    path = tmp_path / "run.zip"
    bundled(context, run, path, images=True)
    files = contents(path)
    graph = {each["@id"]: each for each in json.loads(files["ro-crate-metadata.json"])["@graph"]}
    # RO-Crate 1.1, "Root Data Entity": what must be there.
    about = graph["ro-crate-metadata.json"]
    assert about["@type"] == "CreativeWork"
    assert about["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
    root = graph[about["about"]["@id"]]
    assert (root["@id"], root["@type"]) == ("./", "Dataset")
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    assert {each["@id"] for each in root["hasPart"]} == files.keys() - {"ro-crate-metadata.json"}
    assert all(graph[each["@id"]]["@type"] == "File" for each in root["hasPart"])

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if value.keys() == {"@id"}:
                yield value["@id"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    outside = {"https://w3id.org/ro/crate/1.1"}
    assert set(references(list(graph.values()))) <= graph.keys() | outside


def test_a_signature_is_compared_with_the_key_that_is_given(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run, path = classify(context, network, Solver.LOCAL, Parameters(reads=5)), tmp_path / "run.zip"
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    options = BundleOptions(images=False, licence=LICENCE, key=key)
    assert bundle(context.database, run, path, options, no_report).signed_by == public.hex()
    assert verify(path, public, no_report).wrong == []
    assert any("whose the key of the signature is" in each for each in verified(path).unproven)
    wrong = verify(path, other.public_key().public_bytes_raw(), no_report).wrong
    assert wrong == [("signature.json", f"is by another key, {public.hex()}")]
    bundled(context, run, path)
    assert verify(path, public, no_report).wrong == [
        ("signature.json", "is missing: the bundle is not signed")
    ]
