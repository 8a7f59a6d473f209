"""Coloured photographs of many sizes, and vectors, from their files to an accuracy, without an option."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.acceptance.conftest import own_stack
from tests.conftest import DATA, annealq

EUROSAT = DATA / "eurosat_rgb.npz"
Digits = tuple[np.ndarray, np.ndarray]


def classified(*words: str) -> dict[str, float]:
    done = annealq("classify", *words, "--reads", "20", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def trained(*words: str) -> str:
    done = annealq("networks", "train", *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_vectors(home: Path, tmp_path: Path, digits: Digits) -> None:
    """Random projections of digits: shifted and scaled, so that they must be standardised."""
    images, labels = digits
    mixed = images.reshape(len(images), -1) @ np.random.default_rng(0).standard_normal((64, 64))
    vectors = (300.0 + 10.0 * mixed).astype(np.float64)
    np.savez(tmp_path / "v.npz", x_train=vectors[:1200], y_train=labels[:1200], x_test=vectors[1200:])
    np.savetxt(tmp_path / "labels.txt", labels[1200:], fmt="%d")
    with own_stack(home):
        said = trained("--data", f"{tmp_path}/v.npz:train", "--epochs", "8")
        assert "1,200 turned from float64 to float32; rows are read as vectors of 64 values" in said
        refused = annealq("classify", f"{tmp_path}/v.npz:test")
        assert refused.returncode == 2
        assert "say which by --as" in refused.stderr
        labelled = ("--labels", str(tmp_path / "labels.txt"))
        assert classified(f"{tmp_path}/v.npz:test", "--as", "vectors", *labelled)["accuracy"] > 0.85


def test_photographs_of_many_sizes(home: Path, tmp_path: Path) -> None:
    """Red and green ones of the same grey, which only their colours tell apart."""
    rng = np.random.default_rng(1)
    for k in range(80):
        size, is_green = rng.integers(20, 60, 2), k % 2
        pixels = rng.integers(0, 40, (*size, 3), np.uint8)
        pixels[..., is_green] += np.uint8(51 if is_green else 100)
        folder = tmp_path / ("train" if k < 60 else "test") / ("green" if is_green else "red")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    with own_stack(home):
        trained("--data", str(tmp_path / "train"), "--epochs", "10")
        run = classified(str(tmp_path / "test"))
        assert (run["images"], run["accuracy"] > 0.9) == (20, True)
        assert annealq("doctor").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not EUROSAT.exists(), reason=f"{EUROSAT} is not there")
def test_satellite_pictures(home: Path) -> None:
    with own_stack(home):
        trained("--data", f"{EUROSAT}:train", "--limit", "800", "--epochs", "5")
        assert classified(f"{EUROSAT}:test", "--limit", "200")["accuracy"] > 0.25  # of ten classes
