"""Files of models, read back by dimod: the same energies to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import dimod
import numpy as np
import pytest
from dimod.serialization import coo

from schema.errors import ParameterError
from tests.models import features_for, head, pooled
from worker.ocean.embeddings import parse_tiles
from worker.ocean.models import SUFFIXES, model_of, names_of, write_model
from worker.qubo.energy_model import EnergyModel


def read(path: Path) -> dimod.BinaryQuadraticModel:
    if path.suffix == ".bqm":
        with path.open("rb") as file:
            return dimod.BinaryQuadraticModel.from_file(file)
    if path.suffix == ".json":
        return dimod.BinaryQuadraticModel.from_serializable(json.loads(path.read_text()))
    with path.open() as file:
        return coo.load(file)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        (head(units=6, classes=3), ("visible", "classes")),
        (head("folded", units=6, classes=3), ("visible", "classes")),
        (pooled(), ("visible", "pool", "classes")),
    ],
    ids=["head", "folded", "pooled"],
)
def test_dimod_reads_the_same_energies(
    model: EnergyModel, kinds: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    linear = model.linear(features_for(model, 1) * 1e-7)  # small ones, with many digits
    linear[0, 0] = 0.0
    names = names_of(model, kinds)
    path = tmp_path / f"model{suffix}"
    write_model(model_of(model, linear[0], names), path, suffix)
    found = read(path)
    bits = np.random.default_rng(0).integers(0, 2, (1, 50, model.units), dtype=np.uint8)
    order = list(range(model.units)) if suffix == ".coo" else names
    assert set(found.variables) == set(order)
    energies = found.energies((bits[0].astype(np.int8), order))
    np.testing.assert_allclose(energies, model.energies(linear, bits)[0], rtol=0, atol=1e-12)
    assert names[-1] == f"hc{model.sizes[-1]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no tile"),
        ("3", "tile 0 is not an object"),
        ('{"v1": [1]}', "no chain for 'hc1'"),
        ('{"v1": [1], "hc1": [2], "x": [3]}', "a chain for 'x', which is not a unit"),
        ('{"v1": [1], "hc1": []}', "'hc1' is not a list of qubits"),
        ('{"v1": [1], "hc1": [true]}', "'hc1' is not a list of qubits"),
        ('{"v1": [1], "hc1": [2.0]}', "'hc1' is not a list of qubits"),
        ('{"v1": [1], "hc1": [-2]}', "'hc1' is not a list of qubits"),
        ('{"v1": [1], "hc1": [99999999999]}', "'hc1' is not a list of qubits"),
        ('{"v1": [1], "hc1": [1]}', "a qubit is in two chains"),
        ('[{"v1": [1], "hc1": [2]}, {"v1": [2], "hc1": [3]}]', "a qubit is in two chains"),
        ('{"embeddings": {"v1": 3}}', "no chain for 'hc1'"),
    ],
)
def test_what_is_not_an_embedding_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_tiles(text, ["v1", "hc1"])


@pytest.mark.parametrize(
    "text",
    [
        '{"hc1": [7], "v1": [5, 4]}',
        '[{"0": [5, 4], "1": [7]}]',
        '{"graph_id": "g", "embeddings": [{"v1": [5, 4], "hc1": [7]}]}',
    ],
)
def test_units_have_names_or_numbers(text: str) -> None:
    found = parse_tiles(text, ["v1", "hc1"])
    assert [found.chain(0, unit).tolist() for unit in range(2)] == [[5, 4], [7]]
