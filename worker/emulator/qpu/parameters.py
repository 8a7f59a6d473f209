"""The sampling parameters of a problem, checked against the solver's properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.emulator.qpu.errors import Rejected

DESCRIPTIONS = {
    "anneal_schedule": "Points (time in us, anneal fraction); one that starts at 1 anneals in reverse.",
    "annealing_time": "Duration of an anneal in us.",
    "answer_mode": "histogram (unique solutions by energy) or raw (in the order of reading).",
    "auto_scale": "Scale h and J to fill their ranges.",
    "flux_biases": "A flux bias for each qubit of the lattice; only zeros are accepted here.",
    "flux_drift_compensation": "Accepted; the emulator has no drift.",
    "initial_state": "Where reverse annealing begins: a value for each qubit of the lattice, 3 for unused.",
    "max_answers": "How many solutions to return at most.",
    "num_reads": "Number of reads.",
    "programming_thermalization": "Pause after programming in us.",
    "readout_thermalization": "Pause after each read in us.",
    "reduce_intersample_correlation": "Pause longer after each read.",
    "reinitialize_state": "Counts for time only: each reverse anneal begins with the initial state.",
}
MODES = ("histogram", "raw")
UNUSED = 3  # SAPI's mark for a qubit without initial state


@dataclass(frozen=True, eq=False)
class ProblemParameters:
    """Sampling parameters; times in microseconds, 0 for the solver's default.

    Attributes:
        initial_state: (lattice size,) int8 as submitted, UNUSED where a qubit has none; None for forward
            anneals.
        turning_point: smallest anneal fraction of the schedule, 0 for a forward anneal.
    """

    reads: int = 1
    anneal_us: float = 0.0
    raw: bool = False
    max_answers: int | None = None
    auto_scale: bool = True
    programming_thermalization_us: float = 0.0
    readout_thermalization_us: float = 0.0
    reduce_intersample_correlation: bool = False
    reinitialize_state: bool = False
    initial_state: NDArray[np.int8] | None = None
    turning_point: float = 0.0

    @property
    def reverse(self) -> bool:
        """Return whether the anneal starts from a state."""
        return self.initial_state is not None


def check(params: object, properties: Mapping[str, Any]) -> ProblemParameters:
    """Check the ``params`` of a submission ; null counts as absent.

    Raises:
        Rejected: a parameter is unknown, of the wrong type, or out of its range in ``properties``.
    """
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise Rejected(f"params must be an object, not {type(params).__name__}")
    for name in params:
        if name not in DESCRIPTIONS:
            raise Rejected(
                f"{name!r:.80} is not a parameter of this solver; available: {', '.join(DESCRIPTIONS)}"
            )
    params = {name: value for name, value in params.items() if value is not None}
    schedule = _schedule(params, properties)
    _flux_biases(params, properties)
    _flag(params, "flux_drift_compensation", default=True)
    return ProblemParameters(
        reads=_reads(params, properties),
        anneal_us=_anneal_us(params, properties, schedule),
        raw=_mode(params) == "raw",
        max_answers=_max_answers(params),
        auto_scale=_flag(params, "auto_scale", default=True),
        programming_thermalization_us=_pause(params, properties, "programming_thermalization"),
        readout_thermalization_us=_pause(params, properties, "readout_thermalization"),
        reduce_intersample_correlation=_flag(params, "reduce_intersample_correlation", default=False),
        # The client's estimate assumes false where the parameter is absent, so the charge does too.
        reinitialize_state=_flag(params, "reinitialize_state", default=False),
        initial_state=_initial_state(params, properties, schedule),
        turning_point=min(fraction for _, fraction in schedule) if schedule else 0.0,
    )


def _reads(params: Mapping[str, Any], properties: Mapping[str, Any]) -> int:
    low, high = properties["num_reads_range"]
    return _integer(params, "num_reads", 1, low, high)


def _max_answers(params: Mapping[str, Any]) -> int | None:
    return _integer(params, "max_answers", 1, 1, 1_000_000) if "max_answers" in params else None


def _mode(params: Mapping[str, Any]) -> str:
    mode = params.get("answer_mode", "histogram")
    if mode not in MODES:
        raise Rejected(f"answer_mode must be histogram or raw, not {mode!r:.80}")
    return str(mode)


def _anneal_us(
    params: Mapping[str, Any], properties: Mapping[str, Any], schedule: list[tuple[float, float]]
) -> float:
    if schedule:
        if "annealing_time" in params:
            raise Rejected("annealing_time and anneal_schedule exclude each other; leave one out")
        return schedule[-1][0]
    if "annealing_time" not in params:
        return 0.0
    return _number(params, "annealing_time", *properties["annealing_time_range"])


def _pause(params: Mapping[str, Any], properties: Mapping[str, Any], name: str) -> float:
    return _number(params, name, *properties[f"{name}_range"]) if name in params else 0.0


def _schedule(params: Mapping[str, Any], properties: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the schedule's points, or none."""
    if "anneal_schedule" not in params:
        return []
    submitted, limit = params["anneal_schedule"], properties["max_anneal_schedule_points"]
    if not isinstance(submitted, list) or not 2 <= len(submitted) <= limit:
        raise Rejected(f"anneal_schedule must be a list of 2 to {limit} points (time, fraction)")
    points = []
    for point in submitted:
        if not isinstance(point, list) or len(point) != 2 or not all(_is_number(value) for value in point):
            raise Rejected(f"anneal_schedule has points (time, fraction), not {point!r:.80}")
        points.append((float(point[0]), float(point[1])))
    _check_schedule(points, *properties["annealing_time_range"])
    return points


def _check_schedule(points: list[tuple[float, float]], shortest: float, longest: float) -> None:
    times, fractions = zip(*points, strict=True)
    if times[0] != 0 or times[-1] > longest:
        raise Rejected(
            f"anneal_schedule must go from 0 to at most {longest:g} us, not {times[0]:g} to {times[-1]:g}"
        )
    if (
        not all(0 <= fraction <= 1 for fraction in fractions)
        or fractions[0] not in {0, 1}
        or fractions[-1] != 1
    ):
        raise Rejected("anneal_schedule must have fractions 0 to 1, begin with 0 or 1 and end with 1")
    for (time, fraction), (next_time, next_fraction) in pairwise(points):
        if next_time <= time:
            raise Rejected(f"anneal_schedule's times must increase; {next_time:g} us follows {time:g} us")
        slope = abs(next_fraction - fraction) / (next_time - time)
        if round(slope, 10) > 1 / shortest:
            raise Rejected(f"anneal_schedule's slope may be {1 / shortest:g} per us at most, not {slope:g}")
        if fractions[0] == 0 and next_fraction < fraction:
            raise Rejected(
                f"a forward anneal_schedule cannot go back, from {fraction:g} to {next_fraction:g}"
            )


def _initial_state(
    params: Mapping[str, Any], properties: Mapping[str, Any], schedule: list[tuple[float, float]]
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


def _flux_biases(params: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Accept zeros only: the effect of a bias on a chain is not modelled, and must not appear to be."""
    biases, size = params.get("flux_biases"), properties["num_qubits"]
    if biases is None:
        return
    if not isinstance(biases, list) or len(biases) != size or not all(_is_number(value) for value in biases):
        raise Rejected(f"flux_biases must be a list of {size:,} numbers, one for each qubit of the lattice")
    if any(biases):
        raise Rejected("the emulator does not model flux_biases; leave them out or set all to 0")


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
    if not _is_number(value):
        raise Rejected(f"{name} must be a number, not {value!r:.80}")
    if not low <= value <= high:
        raise Rejected(f"{name} must be {low:g} to {high:g}, not {value:g}")
    return float(value)


def _is_number(value: Any) -> bool:
    # orjson gives integers up to 64 bits and finite floats; a bool does not count as a number.
    return type(value) in {int, float}
