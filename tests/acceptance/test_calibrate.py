"""Rescores and calibrates from the command line, through real workers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.conftest import own_stack, stored
from tests.conftest import annealq_process

Digits = tuple[np.ndarray, np.ndarray]


def rows(home: Path) -> list[int]:
    with stored(home) as connection:
        tables = ("runs", "batches", "problems", "sample_sets", "calibrations")
        return [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables]  # noqa: S608


@pytest.fixture
def halves(tmp_path: Path, digits: Digits) -> tuple[str, str]:
    """Validation and test images as files, with no image in both (the digits have none twice)."""
    images, labels = digits
    for name, part in (("validation", slice(0, 100)), ("test", slice(100, 180))):
        np.savez(tmp_path / f"{name}.npz", images=images[part], labels=labels[part])
    return str(tmp_path / "validation.npz"), str(tmp_path / "test.npz")


@pytest.mark.slow
def test_calibrate_then_classify_then_score_again(
    home: Path, halves: tuple[str, str], digits_file: str
) -> None:
    validation, test = halves
    with own_stack(home):
        done = annealq_process("networks", "train", "digits", "--data", digits_file, "--epochs", "8")
        assert done.returncode == 0, done.stderr
        command = ("networks", "calibrate", "digits", "--data", validation, "--reads", "50")
        done = annealq_process(*command, "--test", test, "--json")
        assert done.returncode == 0, done.stderr
        assert "100 of the 100 images are among those the network was trained on" in done.stderr
        fitted = json.loads(done.stdout)
        assert (fitted["state"], fitted["images"], fitted["solver"]) == ("ready", 100, "local")
        assert len(fitted["measured"]["right"]) == 4
        assert fitted["accuracy"] > 0.9
        assert fitted["parameters"]["reads"] <= 50

        done = annealq_process("classify", test, "--network", "digits", "--seed", "3", "--json")
        assert done.returncode == 0, done.stderr
        run = json.loads(done.stdout)
        told = annealq_process("runs", "show", str(run["run_id"])).stdout
        assert f"by calibration {fitted['calibration_id']}: lam " in told
        assert run["calibrated_by"] == fitted["calibration_id"]
        assert run["parameters"] == {**fitted["parameters"], "seed": 3}
        assert f"calibration {run['calibrated_by']} (" in done.stderr
        assert "used for calibration" not in " ".join(done.stderr.split())
        assert run["accuracy"] > 0.9

        mixed = annealq_process("classify", validation, "--network", "digits", "--reads", "7", "--json")
        assert "100 of the 100 images were used for calibration" in " ".join(mixed.stderr.split())
        assert json.loads(mixed.stdout)["parameters"] == {**fitted["parameters"], "reads": 7}
        plain = annealq_process(
            "classify", test, "--network", "digits", "--no-calibration", "--reads", "30", "--json"
        )
        assert "calibration" not in plain.stderr
        run = json.loads(plain.stdout)
        assert (run["calibrated_by"], run["parameters"]["lam"]) == (None, None)

        before = rows(home)
        done = annealq_process(
            *("runs", "rescore", str(run["run_id"]), "--rule", "boltzmann", "--beta", "0.5"),
            *("--reads", "10", "--json"),
        )
        assert done.returncode == 0, done.stderr
        again = json.loads(done.stdout)
        assert (again["state"], again["images"], again["rescored_from"]) == ("done", 80, run["run_id"])
        assert again["parameters"] == {**run["parameters"], "rule": "boltzmann", "beta": 0.5, "reads": 10}
        assert again["statistics"]["sampling_seconds"] == 0
        assert again["accuracy"] > 0.85
        assert [now - then for now, then in zip(rows(home), before, strict=True)] == [1, 1, 0, 0, 0]
    text = annealq_process("runs", "show", str(again["run_id"])).stdout
    assert "boltzmann, beta 0.5" in text
    assert f"those of run {run['run_id']}" in text
    assert "calibrations, newest first" in annealq_process("networks", "show", "digits").stdout


@pytest.mark.slow
def test_bad_input_is_named_and_leaves_nothing(home: Path, tmp_path: Path, halves: tuple[str, str]) -> None:
    _, test = halves
    np.savez(tmp_path / "plain.npz", images=np.load(test)["images"])
    plain = str(tmp_path / "plain.npz")
    calibrate = ("networks", "calibrate", "digits", "--data")
    cases: dict[str, tuple[tuple[str, ...], int]] = {
        "80 of the 80 images of test.npz are also in": ((*calibrate, test, "--test", test), 2),
        "needs labels": ((*calibrate, plain), 2),
        "unknown solver": ((*calibrate, test, "-s", "quantum"), 2),
        "lam is 'x'": ((*calibrate, test, "--lam", "x"), 2),
        "reads is 0": ((*calibrate, test, "--reads", "0"), 2),
        "no network 'nosuch'": (("networks", "calibrate", "nosuch", "--data", test), 2),
        "no run 99": (("runs", "rescore", "99"), 1),
        "fraction is 2.0": (("runs", "rescore", "99", "--fraction", "2"), 2),
        "beta is 0.0": (("runs", "rescore", "99", "--beta", "0"), 2),
    }
    with own_stack(home):
        before = rows(home)
        for message, (arguments, code) in cases.items():
            done = annealq_process(*arguments)
            assert done.returncode == code, (message, done.stdout, done.stderr)
            assert message in done.stderr.replace("\n", " "), (message, done.stderr)
            assert "Traceback" not in done.stderr
        assert rows(home) == before
