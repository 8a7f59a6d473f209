"""Sources that begin with backbones: their features are computed for each backbone, once, and joined."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from producer.backbones.removal import delete_backbone, networks_with
from producer.networks.choose import choose_network
from producer.networks.training import enqueue_training
from producer.progress.reasons import featured_images
from producer.runs import dry_runs
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.enqueue import enqueue_run
from producer.runs.queries import classified
from producer.runs.request import RunOptions
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.errors import BackboneError, ParameterError
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.shapes import ImageShape
from schema.states import BatchState, FeatureSetState, NetworkState, RunState
from schema.tables import Backbone, BackboneFile, Batch, BatchFeatures, FeatureSet, Network, Run
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, work_off
from tests.integration.proof.bundles import bundled
from tests.onnx_models import SIDE, architecture, imported, of_sources, pictures
from worker.context import Context
from worker.pipeline.dry_run import plan_dry_run
from worker.pipeline.features.compute_features import compute_features
from worker.pipeline.train import train_network


@pytest.fixture
def layers(database: Database) -> Architecture:
    with database.transaction() as session:
        return of_sources(imported(session), imported(session, seed=1))


@pytest.fixture
def network(database: Database, context: Context, layers: Architecture) -> int:
    """That of ``layers``, trained by the queue."""
    return trained(database, context, layers)


def trained(database: Database, context: Context, layers: Architecture) -> int:
    network = enqueue_training(database, layers, pictures(60, seed=5), transfer="energy", seed=0).id
    for row in queued(database):
        compute_features(context, row)
    train_network(context, network)
    with database.reading() as session:
        stored = session.get_one(Network, network)
        assert stored.state is NetworkState.READY, stored.error
    return network


def queued(database: Database) -> list[int]:
    query = select(FeatureSet.id).where(FeatureSet.state == FeatureSetState.QUEUED)
    with database.reading() as session:
        return list(session.scalars(query.order_by(FeatureSet.id)))


def enqueue(database: Database, name: str = "sources", **parameters: object) -> int:
    with database.reading() as session:
        chosen = choose_network(session, name, ImageShape.image(SIDE, SIDE, 3))
    asked = Parameters(**{"reads": 20, "visible": "folded", **parameters})  # type: ignore[arg-type]
    return enqueue_run(database, pictures(), chosen, Solver.LOCAL, asked, RunOptions(batch_size=10)).id


def accuracy(session: Session, run: int) -> float:
    assert session.get_one(Run, run).state is RunState.DONE
    return float(np.mean([row.predicted == row.label for row in classified(session, run)]))


def test_a_network_is_trained_on_two_backbones_and_on_pixels(
    database: Database, context: Context, network: int, layers: Architecture
) -> None:
    assert queued(database) == []
    with database.reading() as session:
        metrics = session.get_one(Network, network).metrics
        assert metrics is not None
        assert [row["name"] for row in metrics["sources"]["rows"]] == ["backbone0", "backbone1", "pixels"]
        backbones = session.scalars(select(Backbone.sha256)).all()
        assert [networks_with(session, sha256) for sha256 in backbones] == [["sources@1"]] * 2
    with pytest.raises(BackboneError, match="used by sources@1"):
        delete_backbone(database, "tiny1")


@pytest.mark.usefixtures("network")
def test_a_run_waits_for_the_features_of_all_backbones(
    database: Database, context: Context, cli: Cli
) -> None:
    run = enqueue(database)
    sets = queued(database)
    assert len(sets) == 2 * 3  # backbones, batches
    compute_features(context, sets[0])
    with database.reading() as session:
        assert featured_images(session, run) == 5  # of 30, on average over the backbones
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert accuracy(session, run) > 0.9
        statistics = session.get_one(Run, run).statistics
        assert statistics is not None
        features = statistics["features"]
        assert (features["images"], features["backbones"], features["computed"]) == (30, 2, 60)
        assert session.scalars(select(Batch.state)).all() == [BatchState.SCORED] * 3
    assert "30 images by 2 backbones, 60 vectors computed" in cli("runs", "show", run)
    assert json.loads(cli("doctor", "--json"))["findings"] == []


def test_features_are_shared_with_a_network_of_one_of_the_backbones(
    database: Database, context: Context, network: int, layers: Architecture
) -> None:
    trained(database, context, architecture(layers.backbones[1]))
    enqueue(database, "onfeatures")
    alone = queued(database)
    enqueue(database)
    assert len(queued(database)) == len(alone) + 3  # of the other backbone


def test_a_source_with_a_backbone_is_left_out(database: Database, context: Context, network: int) -> None:
    runs = [enqueue(database, without=names) for names in (("backbone0",), ("backbone0", "backbone1"))]
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert all(accuracy(session, run) > 0.6 for run in runs)
    with pytest.raises(ParameterError, match="no such source: it has backbone0, backbone1, pixels"):
        enqueue(database, without=("backbone2",))


def test_features_that_were_removed_are_computed_again_for_rescoring(
    database: Database, context: Context, network: int
) -> None:
    run = enqueue(database)
    work_off(context, Message(Task.DISPATCH))
    with database.transaction() as session:
        session.execute(delete(FeatureSet).where(FeatureSet.backbone_id == 2))
    context.linear_terms.clear()
    again = enqueue_rescored(database, run, {"fraction": 0.2}).id
    with database.reading() as session:
        own = select(Batch.id).where(Batch.run_id == again)
        batches = session.scalars(own).all()
        links = session.scalars(select(BatchFeatures).where(BatchFeatures.batch_id.in_(own))).all()
    assert len(links) == len(batches) == 3
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches))
    with database.reading() as session:
        both = [[row.probability for row in classified(session, each)] for each in (run, again)]
    assert both[0] == both[1]


def test_dry_run_and_forecast_state_what_a_run_on_qubits_costs(
    database: Database, context: Context, network: int, cli: Cli
) -> None:
    parameters = Parameters(reads=20, qpu="tiny", visible=Visible.FOLDED, tiles=2)
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", samples="instant") as emulator:
        context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
        dry_run = enqueue_dry_run(database, network, Solver.EMULATOR, parameters, images=30, batch_size=10)
        plan_dry_run(context, dry_run)
        with database.reading() as session:
            made = dry_runs.get(session, dry_run)
            chosen = choose_network(session, "sources", ImageShape.image(SIDE, SIDE, 3))
        assert (made.error, made.plan["images"]) == (None, 30)
        options = RunOptions(batch_size=10)
        run = enqueue_run(database, pictures(), chosen, Solver.EMULATOR, parameters, options).id
        (forecast,) = json.loads(cli("plan", "--json"))["runs"]
        assert (forecast["run_id"], forecast["images"]) == (run, 30)
        assert len(queued(database)) == 6  # neither has computed features
        work_off(context, Message(Task.DISPATCH))
        context.solvers.disconnect(Solver.EMULATOR, parameters)
    with database.reading() as session:
        assert accuracy(session, run) > 0.9
        statistics = session.get_one(Run, run).statistics
    assert statistics is not None
    for estimate in (made.plan["qpu_us"], forecast["qpu_us"]):
        assert estimate == pytest.approx(statistics["qpu_access_time_us"], rel=0.3)


def test_a_bundle_is_proven_but_for_the_features(
    database: Database, context: Context, network: int, tmp_path: Path
) -> None:
    runs = [enqueue(database, without=names) for names in ((), ("backbone0",))]
    work_off(context, Message(Task.DISPATCH))
    for run in runs:
        findings = bundled(context, run, tmp_path / f"{run}.zip", images=True)
        assert findings.wrong == []
        assert any("results of 30 images computed again" in each for each in findings.proven)
        assert any("the images are those of the run" in each for each in findings.proven)
        assert any("the bundle has no backbones" in each for each in findings.unproven)


def test_one_damaged_backbone_fails_the_batches_and_says_which(
    database: Database, context: Context, network: int
) -> None:
    run = enqueue(database)
    with database.transaction() as session:
        session.execute(update(BackboneFile).where(BackboneFile.backbone_id == 2).values(data=b"damaged"))
    context = replace(context, backbones=type(context.backbones)())
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert session.get_one(Run, run).state is RunState.FAILED
        errors = set(session.scalars(select(Batch.error).where(Batch.run_id == run)))
    assert len(errors) == 1
    assert "file of backbone 'tiny1'" in str(errors)


def test_a_network_is_exported_and_imported_with_its_sources(
    database: Database, context: Context, network: int, cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "sources.safetensors"
    cli("networks", "export", "sources", "--output", path)
    described = ("--architecture", path.with_suffix(".json"), "--weights", path)
    cli("networks", "import", "again", *described)
    runs = [enqueue(database, name) for name in ("sources", "again")]
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        both = [[row.scores for row in classified(session, run)] for run in runs]
    assert np.array_equal(*both)
    assert "backbone1" in cli("networks", "show", "again")


def test_layers_are_written_for_backbones_and_further_sources(
    cli: Cli, layers: Architecture, tmp_path: Path
) -> None:
    given = pictures(12, side=64)
    np.savez(tmp_path / "colours.npz", images=given.images, labels=given.labels)
    names = ("--backbone", "tiny0", "--backbone", "tiny1", "--source", "pixels", "--source", "colours")
    out = tmp_path / "layers.toml"
    cli("networks", "new", *names, "--data", tmp_path / "colours.npz", "--out", out)
    written = Architecture.from_dict(tomllib.loads(out.read_text()))
    assert written.backbones == layers.backbones
    assert list(written.blocks) == ["tiny0", "tiny1", "pixels", "colours"]
    # Those for which docs/sources.md states what pixels add.
    pixels, colours = written.source[2:]
    assert [layer.kind for layer in pixels.features] == ["conv", "max_pool", "conv", "max_pool", "dense"]
    assert (written.input.shape, pixels.decay, colours.decay) == ((3, 32, 32), 0.0, 1.0)
    with pytest.raises(AssertionError, match="name one, --backbone NAME"):
        cli("networks", "new", "--source", "pixels", "--data", tmp_path / "colours.npz")
