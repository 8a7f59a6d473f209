"""Twins from files: chips with known errors, and files that are anything else."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schema.errors import ParameterError
from worker.emulator.qpu import twin
from worker.emulator.qpu.chip import Design, make
from worker.emulator.qpu.imperfections import ChipErrors
from worker.emulator.qpu.solver import EmulatedSolver
from worker.emulator.service.options import EmulatorOptions

CHIP = make(Design("pegasus", 3, dead=4, missing=3), seed=2)


@cache
def limits() -> dict[str, Any]:
    """What an emulated solver of full size says of its ranges, times and parameters."""
    return EmulatedSolver.make("real", EmulatorOptions().models()["emulator-pegasus"], 0).limits


def file_of(folder: Path, about: dict[str, Any] | None = None, arrays: dict[str, Any] | None = None) -> Path:
    """A twin of a small chip, with ``about`` and ``arrays`` instead of its own."""
    random = np.random.default_rng(1)
    properties = {**limits(), "topology": {"type": "pegasus", "shape": [3]}}
    described = {"format": 1, "name": "QPU_1", "beta": 4.36, "errors": {"flip": 0.001}}
    described |= {"properties": properties}
    values: dict[str, Any] = {
        "qubits": CHIP.qubits,
        "couplers": CHIP.couplers,
        "h": random.normal(0.0, 0.02, len(CHIP.qubits)),
        "gains": np.zeros(len(CHIP.qubits)),
        "J": random.normal(0.0, 0.01, len(CHIP.couplers)),
        "about": np.frombuffer(json.dumps({**described, **(about or {})}).encode(), np.uint8),
    }
    path = folder / "twin.npz"
    with path.open("wb") as file:
        np.savez(file, **{**values, **(arrays or {})})
    return path


def test_a_twin_has_the_graph_and_the_errors_of_its_file(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    loaded = twin.load(path)
    solver = EmulatedSolver.make(loaded.name, loaded.model, seed=7)
    assert solver.chip.graph_id == CHIP.graph_id
    with np.load(path) as stored:
        assert np.array_equal(solver.imperfections.persistent_h, stored["h"])
    assert loaded.model.beta == pytest.approx(4.5)
    assert loaded.model.errors == ChipErrors(flip=0.001)
    assert solver.properties["qubits"] == CHIP.qubits.tolist()


def test_what_no_read_shows_is_drawn_with_the_spread_of_the_rest(tmp_path: Path) -> None:
    h = np.full(len(CHIP.qubits), np.nan)
    h[0] = 0.5
    path = file_of(tmp_path, {"errors": {"h_persistent": 0.02}}, {"h": h})
    loaded = twin.load(path)
    drawn = EmulatedSolver.make("a", loaded.model, 0).imperfections.persistent_h
    assert drawn[0] == 0.5
    assert drawn[1:].std() == pytest.approx(0.02, rel=0.3)
    again = EmulatedSolver.make("a", twin.load(path).model, 0).imperfections.persistent_h
    assert np.array_equal(drawn, again)


def test_the_emulator_starts_with_twins_alone_or_with_other_chips(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    assert list(EmulatorOptions(twins=(path,)).models()) == ["QPU_1"]
    both = EmulatorOptions(twins=(path,), chips=("advantage-system6",)).models()
    assert set(both) == {"QPU_1", "advantage-system6"}
    with pytest.raises(ParameterError, match="two twins"):
        EmulatorOptions(twins=(path, path)).models()


def test_the_graph_of_a_twin_does_not_change(tmp_path: Path) -> None:
    loaded = twin.load(file_of(tmp_path))
    with pytest.raises(ParameterError, match="twin"):
        EmulatedSolver.make(loaded.name, loaded.model, 0).check_regraph()


@pytest.mark.parametrize(
    ("about", "arrays"),
    [
        ({"format": 2}, {}),
        ({"name": "../x"}, {}),
        ({"beta": 0.0}, {}),
        ({"beta": "hot"}, {}),
        ({"beta": None}, {}),
        ({"errors": {"flip": 2.0}}, {}),
        ({"errors": []}, {}),
        ({"properties": {}}, {}),
        ({"properties": {"topology": {"type": "grid", "shape": [3]}}}, {}),
        ({"properties": {"topology": {"type": "pegasus", "shape": [10**9]}}}, {}),
        ({}, {"h": np.zeros(3)}),
        ({}, {"h": np.full(len(CHIP.qubits), np.inf)}),
        ({}, {"J": np.full(len(CHIP.couplers), 7.0)}),
        ({}, {"qubits": CHIP.qubits[::-1]}),
        ({}, {"qubits": np.arange(10**6, dtype=np.int32)}),
        ({}, {"qubits": CHIP.qubits.astype(np.float64) + 0.5}),
        ({}, {"couplers": CHIP.couplers[::-1]}),
        ({}, {"couplers": np.array([[0, 1]], np.int32)}),
        ({}, {"about": np.frombuffer(b"{", np.uint8)}),
        ({}, {"about": np.frombuffer(b"[" * 100_000, np.uint8)}),
        ({}, {"about": np.array({"a": 1}, dtype=object)}),
        ({}, {"h": np.zeros(9_000_000)}),
    ],
)
def test_a_file_that_is_no_twin_is_refused(
    tmp_path: Path, about: dict[str, Any], arrays: dict[str, Any]
) -> None:
    with pytest.raises(ParameterError, match="twin"):
        twin.load(file_of(tmp_path, about, arrays))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip archive" * 100])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "twin.npz"
    path.write_bytes(data)
    with pytest.raises(ParameterError, match="not a twin"):
        twin.load(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        twin.load(tmp_path / "missing.npz")
