"""Energy functions of images as dimod's binary quadratic models (BQMs), and the files that dimod reads.

A variable is named like its unit (v1, h1, hp1, hc1 ...). Energies are those of Q, without an offset.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dimod
import numpy as np
from numpy.typing import NDArray

from schema.network.units import unit_names

if TYPE_CHECKING:
    from worker.qubo.energy_model import EnergyModel

FloatArray = NDArray[np.float64]

SUFFIXES = (".bqm", ".coo", ".json")


def names_of(model: EnergyModel, kinds: Sequence[str]) -> list[str]:
    """Return the names (n,) of the units of ``model``, by the ``kinds`` of all layers of its network.

    If the visible units are folded, the first of these layers is not in the model.
    """
    return unit_names(model.sizes, kinds[-len(model.sizes) :])


def model_of(model: EnergyModel, linear: FloatArray, names: Sequence[str]) -> dimod.BinaryQuadraticModel:
    """Return the BQM (BINARY) of one image under ``model``.

    Args:
        linear: (n,) float64, the image's linear biases.
        names: (n,) of the variables.

    Examples:
        >>> from worker.qubo.energy_model import Coupling, build_model
        >>> head = Coupling(np.array([[1.0, -1.0]]), np.ones((1, 2), dtype=np.bool_))
        >>> model = build_model([head], None, lam=1.0)
        >>> bqm = model_of(model, model.linear(np.array([[0.5]]))[0], ["v1", "hc1", "hc2"])
        >>> bqm.energy({"v1": 1, "hc1": 1, "hc2": 0})
        -2.5
    """
    return quadratic_model(linear, model.edges, model.couplings, names, dimod.BINARY)


def quadratic_model(
    linear: FloatArray,
    edges: NDArray[np.integer],
    couplings: FloatArray,
    names: Sequence[Any],
    vartype: dimod.Vartype,
) -> dimod.BinaryQuadraticModel:
    """Return the BQM with biases ``linear`` (n,) and ``couplings`` (m,) of pairs ``edges`` (m, 2)."""
    ends = edges.astype(np.int64)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear, (ends[:, 0], ends[:, 1], couplings), 0.0, vartype, variable_order=list(names)
    )


def write_model(bqm: dimod.BinaryQuadraticModel, path: Path, suffix: str) -> None:
    """Write ``bqm`` to ``path`` in the form that ``suffix`` names.

    ``.bqm`` is dimod's own format (`BinaryQuadraticModel.from_file`), ``.json`` its serializable form
    (`BinaryQuadraticModel.from_serializable`). ``.coo`` is text, read by `dimod.serialization.coo.load`, in
    which variables are numbers: those of the units in Q's order, from 0.
    """
    if suffix == ".bqm":
        with bqm.to_file() as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        return
    text = json.dumps(bqm.to_serializable()) if suffix == ".json" else "\n".join(_coordinates(bqm))
    path.write_text(f"{text}\n", encoding="utf-8")


def _coordinates(bqm: dimod.BinaryQuadraticModel) -> Iterator[str]:
    """Yield the lines of COO; dimod's own writer has six decimals, and omits variables with bias 0."""
    number = {variable: index for index, variable in enumerate(bqm.variables)}
    yield f"# vartype={bqm.vartype.name}"
    for variable, bias in bqm.linear.items():
        yield f"{number[variable]} {number[variable]} {_decimal(bias)}"
    pairs = {tuple(sorted((number[u], number[v]))): bias for (u, v), bias in bqm.quadratic.items()}
    for (first, second), bias in sorted(pairs.items()):
        yield f"{first} {second} {_decimal(bias)}"


def _decimal(value: float) -> str:
    """Return the digits of ``value`` that read back as the same number, without an exponent."""
    return np.format_float_positional(value, trim="-")
