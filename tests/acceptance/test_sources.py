"""Networks of several sources from the command line: they are trained, and classify without some of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.conftest import QUICK
from tests.conftest import annealq_process
from tests.onnx_models import encoded, pictures

LAYERS = """
name = "halves"
classes = 10

[input]
kind = "vector"
values = 64

[[source]]
name = "upper"
columns = [0, 31]
decay = 1.0
dropout = 0.2

[[source.features]]
kind = "dense"
units = 12
activation = "tanh"

[[source]]
name = "lower"
columns = [32, 63]
dropout = 0.2

[[source.features]]
kind = "dense"
units = 12
activation = "tanh"

[training]
epochs = 10
learning_rate = 0.01
margin = 2.0
"""


@pytest.mark.slow
def test_a_source_is_left_out_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    for name, value in {"ANNEALQ_HOME": str(tmp_path / "home"), **QUICK}.items():
        monkeypatch.setenv(name, value)
    vectors = digits[0].reshape(-1, 64).astype(np.float32)
    np.savez(tmp_path / "train.npz", x=vectors[:900], y=digits[1][:900])
    np.savez(tmp_path / "test.npz", x=vectors[900:960], y=digits[1][900:960])
    (tmp_path / "halves.toml").write_text(LAYERS)
    layers = ("--architecture", str(tmp_path / "halves.toml"), "--data", str(tmp_path / "train.npz"))
    done = annealq_process(
        "networks", "train", *layers, "--as", "vectors", "--embedded", "--json", timeout=200
    )
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)["metrics"]["sources"]
    assert [row["name"] for row in table["rows"]] == ["upper", "lower"]
    assert all(table["all"] > row["without"] > 0.3 for row in table["rows"])

    test = (str(tmp_path / "test.npz"), "--as", "vectors", "--reads", "30")
    done = annealq_process("classify", *test, "--without", "upper", "--embedded", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["parameters"]["without"] == ["upper"]
    assert table["all"] > run["accuracy"] > 0.3

    done = annealq_process("classify", *test, "--without", "upper", "--without", "lower")
    assert done.returncode == 2
    assert "without lower, upper network 'halves' has no source left: name fewer" in done.stderr


@pytest.mark.slow
def test_two_backbones_and_pixels_are_trained_and_classified_by_real_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ANNEALQ_HOME": str(tmp_path / "home"), **QUICK}.items():
        monkeypatch.setenv(name, value)
    train, test = pictures(90), pictures(30, seed=1)
    np.savez(tmp_path / "train.npz", images=train.images, labels=train.labels)
    np.savez(tmp_path / "test.npz", images=test.images, labels=test.labels)
    for seed, name in enumerate(("small", "large")):
        (tmp_path / f"{name}.onnx").write_bytes(encoded(seed, features=8 + seed))
        done = annealq_process("backbones", "import", str(tmp_path / f"{name}.onnx"), "--size", "32")
        assert done.returncode == 0, done.stderr
    layers = str(tmp_path / "layers.toml")
    chosen = ("--backbone", "small", "--backbone", "large", "--source", "pixels")
    data = ("--data", str(tmp_path / "train.npz"))
    done = annealq_process("networks", "new", *chosen, *data, "--name", "seen", "--out", layers)
    assert done.returncode == 0, done.stderr
    train_ = ("networks", "train", "--architecture", layers, *data, "--epochs", "10")
    done = annealq_process(*train_, "--embedded", "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)["metrics"]["sources"]
    assert [row["name"] for row in table["rows"]] == ["small", "large", "pixels"]

    given = (str(tmp_path / "test.npz"), "--network", "seen", "--reads", "30", "--embedded", "--json")
    for without in ((), ("--without", "small", "--without", "pixels")):
        done = annealq_process("classify", *given, *without)
        assert done.returncode == 0, done.stderr
        run = json.loads(done.stdout)
        assert run["accuracy"] > 0.5
        assert run["statistics"]["features"]["backbones"] == 2
    assert run["statistics"]["features"]["computed"] == 0  # those of the first run
