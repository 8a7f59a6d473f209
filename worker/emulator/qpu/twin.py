"""A twin: an emulated chip with the errors that the reads of a real one showed.

Its file is an .npz with these arrays, of which NaN is drawn at random: errors that no read shows.

    qubits    (Q,) int32, ascending
    couplers  (M, 2) int32, i < j, ascending
    h         (Q,) float64, persistent error of each qubit's field, in units of h
    gains     (Q,) float64, relative error of each qubit's h
    J         (M,) float64, persistent error of each coupler, in units of J
    about     the bytes (uint8) of a JSON object: format, name, graph_id, beta, errors (see `ChipErrors`) and
              properties, as the solver states them
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from worker.emulator.qpu.chip import Design, EmulatedChip, lattice_couplers
from worker.emulator.qpu.imperfections import ChipErrors, PersistentErrors
from worker.emulator.qpu.presets import ChipModel, SolverRanges, check_name
from worker.emulator.qpu.timing import TimingModel

FORMAT = 1
_MOST_BYTES = 64 << 20  # of all arrays: a chip of 20,000 qubits has 10 MB
_ARRAYS = ("qubits", "couplers", "h", "gains", "J", "about")
# Reads of the emulator appear this much hotter than they are: sweeps end before everything has settled.
# Measured on a chip without errors: reads at beta 4.5 fit 4.36 best.
APPEARS = 4.36 / 4.5
_TYPES = ("chimera", "pegasus", "zephyr")
_J_SD = 0.01  # of couplers that no read shows; D-Wave states 0.0095 to 0.0155


@dataclass(frozen=True, eq=False)
class Twin:
    """The chip of a file: the name of its solver, and all of its facts."""

    name: str
    model: ChipModel


def load(path: Path) -> Twin:
    """Read the file ``path``, which may be anything; it is never unpickled.

    Raises:
        ParameterError: it cannot be read, is not a twin, or states what no chip can be.
    """
    try:
        arrays = _read(path)
        about = json.loads(arrays["about"].tobytes())
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ParameterError(
                f"it has another format than {FORMAT}: write it again with `annealq embeddings twin`"
            )
        return _twin(arrays, about)
    except ParameterError as error:
        raise ParameterError(f"{path}: not a twin that can be used: {error}") from None
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        zipfile.BadZipFile,
        EOFError,
    ) as error:
        raise ParameterError(
            f"{path}: not a twin, which `annealq embeddings twin` writes ({type(error).__name__})"
        ) from None


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise ParameterError(f"{size:,} bytes of arrays, at most {_MOST_BYTES:,}")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in _ARRAYS}


def _twin(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Twin:
    properties = about["properties"]
    topology, shape = properties["topology"]["type"], properties["topology"]["shape"]
    if topology not in _TYPES:
        raise ParameterError(f"unknown topology {topology!r:.80}")
    design = Design(topology, int(shape[0]))
    chip = _chip(design, arrays["qubits"], arrays["couplers"])
    known = {field.name for field in fields(ChipErrors)}
    errors = ChipErrors(**{name: float(value) for name, value in about["errors"].items() if name in known})
    beta = float(about["beta"]) / APPEARS
    if not 0.01 <= beta <= 1000:
        raise ParameterError(f"beta must be 0.01 to 1000, not {beta:g}")
    h, gains = (_values(arrays[name], len(chip.qubits)) for name in ("h", "gains"))
    persistent = PersistentErrors(h, gains, _values(arrays["J"], len(chip.couplers)), _J_SD)
    name = str(about["name"])
    check_name(name)
    timing = _timing(properties["problem_timing_data"])
    return Twin(name, ChipModel(design, timing, beta, errors, 0, _ranges(properties), chip, persistent))


def _chip(design: Design, qubits: NDArray[Any], couplers: NDArray[Any]) -> EmulatedChip:
    """Return the working graph; raise ParameterError where it is not part of its lattice."""
    whole = lattice_couplers(design)
    kinds = qubits.dtype.kind + couplers.dtype.kind
    qubits, couplers = qubits.astype(np.int32), couplers.astype(np.int32).reshape(-1, 2)
    codes, known = (pairs.astype(np.int64) @ (1 << 31, 1) for pairs in (couplers, whole.couplers))
    is_sound = (
        kinds == "ii"
        and qubits.ndim == 1
        and len(qubits) > 1
        and len(couplers) > 0
        and bool(np.all(np.diff(qubits.astype(np.int64)) > 0))
        and bool(np.all(np.diff(codes) > 0))
        and bool(np.isin(qubits, whole.qubits).all())
        and bool(np.isin(codes, known).all())
        and bool(np.isin(couplers, qubits).all())
    )
    if not is_sound:
        raise ParameterError("its qubits and couplers are not those of its lattice, each once, ascending")
    return EmulatedChip(whole.topology, whole.shape, whole.size, qubits, couplers)


def _values(array: NDArray[Any], count: int) -> NDArray[np.float64]:
    values = np.asarray(array, np.float64)
    if values.shape != (count,) or np.isinf(values).any() or np.nanmax(np.abs(values), initial=0.0) > 1.0:
        raise ParameterError(f"errors must be {count:,} numbers from -1 to 1, or NaN")
    return values


def _ranges(properties: Mapping[str, Any]) -> SolverRanges:
    coupling = properties.get("per_qubit_coupling_range") or properties["per_group_coupling_range"]
    fast = properties.get("fast_anneal_time_range")
    return SolverRanges(
        h=_pair(properties["h_range"]),
        coupling=_pair(coupling),
        annealing_time=_pair(properties["annealing_time_range"]),
        fast_anneal_time=None if fast is None else _pair(fast),
        j=_pair(properties["j_range"]),
        extended_j=_pair(properties["extended_j_range"]),
    )


def _pair(values: Any) -> tuple[float, float]:
    low, high = map(float, values)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ParameterError(f"a range must have two numbers, the lower first, not {values!r:.80}")
    return low, high


def _timing(data: Mapping[str, Any]) -> TimingModel:
    known = {field.name for field in fields(TimingModel)}
    lists = ("readout_time_model_parameters", "decorrelation_time_range")
    given = {name: value for name, value in data.items() if name in known}
    for name in lists:
        if name in given:
            given[name] = tuple(map(float, given[name]))
    return TimingModel(**given)
