"""The Q matrix that a process of the worker computes, and the command that draws it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load
from sqlalchemy import insert

from producer.networks import q_matrix
from producer.networks.versions import install
from producer.stack import programs
from schema.database import Database
from schema.errors import AnnealqError, InputError
from schema.network.architecture import preset
from schema.parameters import Origin
from schema.settings import Settings
from schema.states import NetworkState
from schema.tables import Network
from tests.integration.conftest import Cli, network_row
from tests.trained import patterns, tiny
from worker.network import features, transfer


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url)


@pytest.mark.parametrize("name", ["digits5x5", "mnist", "conv358"])
def test_the_q_that_is_drawn_is_the_q_that_is_sampled(
    database: Database, settings: Settings, name: str
) -> None:
    network = install(database, tiny(name), Origin.IMPORTED).id
    layers, arrays = preset(name), load(tiny(name).data)
    model = transfer.energy_model(layers, arrays, tiny(name).description.transfer, "sampled")
    image = patterns(name)[0][3]
    values = features.features(features.restore(layers, arrays), image[np.newaxis])[0]
    found = q_matrix.compute(settings, network, image)
    np.testing.assert_array_equal(found.values, model.q_matrix(values))
    assert found.sizes == layers.sizes
    assert found.kinds == tuple(layer["kind"] for layer in layers.summary()["units"])
    if name == "digits5x5":
        found = q_matrix.compute(settings, network)
        np.testing.assert_array_equal(found.values, model.q_matrix(np.zeros(layers.visible)))


def test_what_goes_wrong_in_the_process_is_one_line(database: Database, settings: Settings) -> None:
    with pytest.raises(AnnealqError, match=r"^network 7 does not exist or is not ready$"):
        q_matrix.compute(settings, 7)
    network = install(database, tiny("digits5x5"), Origin.IMPORTED).id
    with pytest.raises(InputError, match=r"^digits5x5 takes images \(B, 5, 5\), not \(1, 8, 8\)$") as raised:
        q_matrix.compute(settings, network, np.zeros((8, 8), np.uint8))
    assert raised.value.exit_code == 2


def test_without_the_worker_s_libraries_it_says_what_to_install(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = install(database, tiny("digits5x5"), Origin.IMPORTED).id
    monkeypatch.setattr(programs, "_forks", [])  # they have it
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(AnnealqError, match=r"No module named 'torch'.*pip install 'annealq\[worker\]'"):
        q_matrix.compute(settings, network, patterns("digits5x5")[0][3])


def test_show_draws(database: Database, cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    install(database, tiny("digits5x5"), Origin.IMPORTED)
    images, labels = patterns("digits5x5")
    data, plot = tmp_path / "data.npz", tmp_path / "q.png"
    np.savez(data, images=images, labels=labels)
    printed = cli("networks", "show", "digits5x5", "--plot", plot, "--image", f"{data}:39", "--json")
    summary = json.loads(printed)["summary"]
    assert (summary["size"], summary["size_folded"], sum(summary["couplers"])) == (30, 10, 55)
    assert summary["density"] == pytest.approx(55 / 435)
    with Image.open(plot) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    assert (colours[:, 0] - colours[:, 2] > 80).any()  # red, the one-hot penalty
    assert (colours[:, 2] - colours[:, 0] > 80).any()  # blue, the pools


def test_what_cannot_be_drawn_is_refused(database: Database, cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    install(database, tiny("digits5x5"), Origin.IMPORTED)
    with database.transaction() as session:
        queued = {**network_row(), "state": NetworkState.QUEUED, "weights": None, "finished_at": None}
        session.execute(insert(Network).values(queued))
    pixels = patterns("digits5x5")[0]
    np.savez(tmp_path / "data.npz", images=pixels)
    np.savez(tmp_path / "bright.npz", images=2 * pixels)
    data, plot = tmp_path / "data.npz", tmp_path / "q.png"
    cases: dict[str, tuple[object, ...]] = {
        r"q\.jpeg is not a figure": ("digits5x5", "--plot", tmp_path / "q.jpeg"),
        "no network 'digits@1' is ready": ("digits", "--plot", plot),
        r"data\.npz has 40 images, 0 to 39": ("digits5x5", "--plot", plot, "--image", f"{data}:40"),
        "takes 0 to 1": ("digits5x5", "--plot", plot, "--image", tmp_path / "bright.npz"),
        "8 x 8 pixels, network 'digits5x5' takes 5 x 5": ("digits5x5", "--plot", plot, "--image", "digits:3"),
    }
    for message, arguments in cases.items():
        with pytest.raises(InputError, match=message):
            cli("networks", "show", *arguments)
    with pytest.raises(AssertionError, match="--image belongs to --plot"):
        cli("networks", "show", "digits5x5", "--image", data)
    assert not list(tmp_path.glob("q.*"))
