"""Exported models of all shipped networks: dimod has the energies of the reads of a run under them."""

from __future__ import annotations

import json
from pathlib import Path

import dimod
import numpy as np
import pytest

from producer.images.imageset import ImageSet
from producer.networks import shipped
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import InputError
from schema.messages import Message, Task
from schema.network.architecture import preset
from schema.parameters import Parameters, SampleSetRequest, Solver, Visible
from tests.integration.conftest import Cli, work_off
from worker.context import Context
from worker.pipeline.sample_sets.build import build_sample_set
from worker.tools import ocean_model

READS, TOLERANCE = 20, 1e-9


def drawn(name: str, count: int) -> ImageSet:
    layers = preset(name).input
    shape = (count, *layers.image_shape.sizes)
    images = np.random.default_rng(0).integers(0, layers.image_max + 1, shape, dtype=np.uint8)
    return ImageSet("random", images, None, None, None)


@pytest.mark.parametrize("visible", list(Visible))
@pytest.mark.parametrize("name", shipped.names())
def test_energies_of_stored_reads_are_those_of_the_exported_model(
    context: Context, database: Database, cli: Cli, tmp_path: Path, name: str, visible: Visible
) -> None:
    cli("networks", "show", name)  # installs it
    images = drawn(name, 3)
    with database.transaction() as session:
        network = choose_network(session, name, preset(name).input.image_shape)
    chosen = Parameters(reads=READS, visible=visible)
    run = enqueue_run(database, images, network, Solver.LOCAL, chosen, RunOptions()).id
    work_off(context, Message(Task.DISPATCH))
    for image in range(3):
        with database.reading() as session:
            request = SampleSetRequest(image)
            found = build_sample_set(session, run, request, context.networks, context.backbones)
        path = tmp_path / f"{image}.bqm"
        ocean_model.write(database, network.id, images.images[image], path, ".bqm", visible)
        with path.open("rb") as file:
            exported = dimod.BinaryQuadraticModel.from_file(file)
        assert set(exported.variables) == set(found.variables)
        np.testing.assert_allclose(exported.energies(found), found.record.energy, rtol=0, atol=TOLERANCE)
        assert len(found) == READS


def test_export_writes_the_model_and_refuses_other_forms(
    working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    data = tmp_path / "data.npy"
    np.save(data, drawn("digits", 2).images)
    options = ("--bqm", f"{data}:1", "--visible", "folded", "--lam", 3)
    cli("networks", "export", "digits", *options, "--output", tmp_path / "m.json")
    found = dimod.BinaryQuadraticModel.from_serializable(json.loads((tmp_path / "m.json").read_text()))
    assert set(found.variables) == {f"hc{k}" for k in range(1, 11)}
    assert found.get_quadratic("hc1", "hc2") == 6.0
    for arguments, message in (
        (("--bqm", f"{data}:1", "-o", tmp_path / "m.txt"), r"name it NAME\.bqm, NAME\.coo or NAME\.json"),
        (("--bqm", f"{data}:2", "-o", tmp_path / "x.bqm"), "has 2 images, 0 to 1"),
        (("--bqm", tmp_path / "none.npy", "-o", tmp_path / "x.bqm"), "none"),
    ):
        with pytest.raises(InputError, match=message):
            cli("networks", "export", "digits", *arguments)
    with pytest.raises(AssertionError, match="belong to --bqm"):
        cli("networks", "export", "digits", "--lam", 2, "-o", tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("x*"))
