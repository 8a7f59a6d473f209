"""The sampling parameters of a problem, checked against the solver's properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.emulator.qpu.errors import Rejected
from worker.emulator.qpu.schedules import Points, anneal_schedule, gain_schedule, is_number

DESCRIPTIONS = {
    "anneal_schedule": "Points (time in us, anneal fraction); one that starts at 1 anneals in reverse.",
    "annealing_time": "Duration of an anneal in us; reads of short ones are hotter.",
    "answer_mode": "histogram (unique solutions by energy) or raw (in the order of reading).",
    "auto_scale": "Scale h and J to fill their ranges; excludes flux_biases.",
    "fast_anneal": "The fast-anneal protocol: its times and rules. Every h must be 0.",
    "flux_biases": "A flux bias for each qubit of the lattice, in Phi_0; acts like an h of the other sign.",
    "flux_drift_compensation": "Accepted without effect: drift is not compensated for.",
    "h_gain_schedule": "Points (time in us, gain of h) over the time of an anneal.",
    "initial_state": "Where reverse annealing begins: a value for each qubit of the lattice, 3 for unused.",
    "num_reads": "Number of reads.",
    "programming_thermalization": "Pause after programming in us.",
    "readout_thermalization": "Pause after each read in us.",
    "reduce_intersample_correlation": "Pause longer after each read.",
    "reinitialize_state": "Counts for time only: each reverse anneal begins with the initial state.",
}
MODES = ("histogram", "raw")
UNUSED = 3  # SAPI's mark for a qubit without initial state

_OBSOLETE = "is obsolete; leave it out"
# Parameters of D-Wave's solvers that this one lacks, with the reason.
_UNSUPPORTED = {
    "anneal_offsets": "is not supported: this solver states no anneal_offset_ranges; leave it out",
    "fast_anneal": "is not supported by this solver; leave it out",
    "max_answers": _OBSOLETE,
    "num_spin_reversal_transforms": _OBSOLETE,
}


@dataclass(frozen=True, eq=False)
class ProblemParameters:
    """Sampling parameters; times in microseconds, 0 for the solver's default.

    Attributes:
        initial_state: (lattice size,) int8 as submitted, UNUSED where a qubit has none; None for forward
            anneals.
        schedule: points (us, anneal fraction), none for a straight anneal.
        fast: whether the fast-anneal protocol is used; every h must be 0 then.
        flux_biases: (lattice size,) float64 in Phi_0, or None.
        gain: points (us, gain of h), none for a constant gain of 1.
    """

    reads: int = 1
    anneal_us: float = 0.0
    raw: bool = False
    auto_scale: bool = True
    programming_thermalization_us: float = 0.0
    readout_thermalization_us: float = 0.0
    reduce_intersample_correlation: bool = False
    reinitialize_state: bool = False
    initial_state: NDArray[np.int8] | None = None
    schedule: tuple[tuple[float, float], ...] = ()
    fast: bool = False
    flux_biases: NDArray[np.float64] | None = None
    gain: tuple[tuple[float, float], ...] = ()

    @property
    def reverse(self) -> bool:
        """Return whether the anneal starts from a state."""
        return self.initial_state is not None


def check(params: object, properties: Mapping[str, Any]) -> ProblemParameters:
    """Check the ``params`` of a submission; null counts as absent.

    Raises:
        Rejected: a parameter is unknown, of the wrong type, or out of its range in ``properties``.
    """
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise Rejected(f"params must be an object, not {type(params).__name__}")
    _check_names(params, properties["parameters"])
    params = {name: value for name, value in params.items() if value is not None}
    fast = _flag(params, "fast_anneal", default=False)
    schedule = anneal_schedule(params, properties, fast=fast)
    anneal_us = _anneal_us(params, properties, schedule, fast=fast)
    initial_state = _initial_state(params, properties, schedule)
    reverse = initial_state is not None
    _flag(params, "flux_drift_compensation", default=True)
    return ProblemParameters(
        reads=_reads(params, properties),
        anneal_us=anneal_us,
        raw=_mode(params, default="raw" if reverse else "histogram") == "raw",
        auto_scale=_auto_scale(params),
        programming_thermalization_us=_pause(params, properties, "programming_thermalization"),
        readout_thermalization_us=_pause(params, properties, "readout_thermalization"),
        reduce_intersample_correlation=_flag(params, "reduce_intersample_correlation", default=False),
        reinitialize_state=_flag(params, "reinitialize_state", default=True),
        initial_state=initial_state,
        schedule=tuple(schedule),
        fast=fast,
        flux_biases=_flux_biases(params, properties),
        gain=gain_schedule(params, properties, anneal_us or properties["default_annealing_time"], fast=fast),
    )


def _check_names(params: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Raise Rejected for a parameter that is not ``known``: code 403 for one of D-Wave's, 400 for others."""
    for name in params:
        if name in known:
            continue
        if name in _UNSUPPORTED:
            raise Rejected(f"the parameter {name} {_UNSUPPORTED[name]}", 403)
        raise Rejected(f"{name!r:.80} is not a parameter of this solver; available: {', '.join(known)}")


def _reads(params: Mapping[str, Any], properties: Mapping[str, Any]) -> int:
    low, high = properties["num_reads_range"]
    return _integer(params, "num_reads", 1, low, high)


def _mode(params: Mapping[str, Any], default: str) -> str:
    mode = params.get("answer_mode", default)
    if mode not in MODES:
        raise Rejected(f"answer_mode must be histogram or raw, not {mode!r:.80}")
    return str(mode)


def _auto_scale(params: Mapping[str, Any]) -> bool:
    """Return whether to scale; by default unless there are flux biases, with which it cannot be used."""
    has_biases = "flux_biases" in params
    auto_scale = _flag(params, "auto_scale", default=not has_biases)
    if auto_scale and has_biases:
        raise Rejected("auto_scale and flux_biases exclude each other; set auto_scale to false")
    return auto_scale


def _anneal_us(
    params: Mapping[str, Any], properties: Mapping[str, Any], schedule: Points, *, fast: bool
) -> float:
    if schedule:
        if "annealing_time" in params:
            raise Rejected("annealing_time and anneal_schedule exclude each other; leave one out")
        return schedule[-1][0]
    if "annealing_time" not in params:
        return 0.0
    return _number(
        params, "annealing_time", *properties["fast_anneal_time_range" if fast else "annealing_time_range"]
    )


def _pause(params: Mapping[str, Any], properties: Mapping[str, Any], name: str) -> float:
    return _number(params, name, *properties[f"{name}_range"]) if name in params else 0.0


def _initial_state(
    params: Mapping[str, Any], properties: Mapping[str, Any], schedule: Points
) -> NDArray[np.int8] | None:
    reverse = bool(schedule) and schedule[0][1] == 1
    if reverse != ("initial_state" in params):
        raise Rejected("initial_state and an anneal_schedule that starts with fraction 1 belong together")
    if not reverse:
        return None
    state, size = params["initial_state"], properties["num_qubits"]
    if not isinstance(state, list) or len(state) != size:
        raise Rejected(f"initial_state must be a list of {size:,} values, one for each qubit of the lattice")
    if not all(type(value) is int and value in {-1, 0, 1, UNUSED} for value in state):
        raise Rejected(f"initial_state takes -1 or 0, 1, and {UNUSED} for unused qubits")
    return np.array(state, np.int8)


def _flux_biases(params: Mapping[str, Any], properties: Mapping[str, Any]) -> NDArray[np.float64] | None:
    biases, size = params.get("flux_biases"), properties["num_qubits"]
    if biases is None:
        return None
    if not isinstance(biases, list) or len(biases) != size or not all(map(is_number, biases)):
        raise Rejected(f"flux_biases must be a list of {size:,} numbers, one for each qubit of the lattice")
    if any(abs(bias) > 1 for bias in biases):
        raise Rejected("flux_biases must be -1 to 1 Phi_0")
    return np.array(biases, np.float64)


def _flag(params: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = params.get(name, default)
    if not isinstance(value, bool):
        raise Rejected(f"{name} must be true or false, not {value!r:.80}")
    return value


def _integer(params: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = params.get(name, default)
    if type(value) is not int:
        raise Rejected(f"{name} must be an integer, not {value!r:.80}")
    if not low <= value <= high:
        raise Rejected(f"{name} must be {low:,} to {high:,}, not {value:,}")
    return value


def _number(params: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = params[name]
    if not is_number(value):
        raise Rejected(f"{name} must be a number, not {value!r:.80}")
    if not low <= value <= high:
        raise Rejected(f"{name} must be {low:g} to {high:g}, not {value:g}")
    return float(value)
