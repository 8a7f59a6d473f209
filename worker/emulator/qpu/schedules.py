"""Schedules of a problem, checked: the anneal fraction and the gain of h over the time of an anneal."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from worker.emulator.qpu.errors import Rejected

Points = list[tuple[float, float]]

# D-Wave states the steepest slope of h's gain only in the error: the range within 0.02 us.
_GAIN_RISE_US = 0.02


def anneal_schedule(params: Mapping[str, Any], properties: Mapping[str, Any], *, fast: bool) -> Points:
    """Return the points (us, fraction) of ``params``' anneal_schedule, or none; reverse ones start at 1.

    Args:
        params: parameters of the problem.
        properties: of the solver.
        fast: whether the fast-anneal protocol is used, which takes two points and no reverse anneal.

    Raises:
        Rejected: the schedule breaks one of D-Wave's rules.
    """
    if "anneal_schedule" not in params:
        return []
    submitted = params["anneal_schedule"]
    limit = 2 if fast else properties["max_anneal_schedule_points"]
    points = _points("anneal_schedule", submitted, limit + (not fast))
    reverse = points[0][1] == 1
    if len(points) > limit + reverse:
        raise Rejected(
            f"anneal_schedule must be a list of 2 to {limit} points (time, fraction), not {len(points)}"
            + ("" if fast else f"; a reverse anneal may have {limit + 1}")
        )
    if fast and reverse:
        raise Rejected("fast_anneal excludes a reverse anneal_schedule; begin with fraction 0")
    name = "fast_anneal_time_range" if fast else "annealing_time_range"
    _check_anneal(points, *properties[name])
    return points


def gain_schedule(
    params: Mapping[str, Any], properties: Mapping[str, Any], anneal_us: float, *, fast: bool
) -> tuple[tuple[float, float], ...]:
    """Return the points (us, gain) of ``params``' h_gain_schedule, or none.

    Args:
        params: parameters of the problem.
        properties: of the solver.
        anneal_us: duration of an anneal, at which the schedule ends.
        fast: whether the fast-anneal protocol is used, which excludes it.

    Raises:
        Rejected: the schedule breaks one of D-Wave's rules.
    """
    if "h_gain_schedule" not in params:
        return ()
    if fast:
        raise Rejected("fast_anneal and h_gain_schedule exclude each other; leave one out")
    points = _points("h_gain_schedule", params["h_gain_schedule"], properties["max_h_gain_schedule_points"])
    low, high = properties["h_gain_schedule_range"]
    if points[0][0] != 0 or points[-1][0] != anneal_us:
        raise Rejected(
            f"h_gain_schedule must go from 0 to the end of the anneal, {anneal_us:g} us, "
            f"not from {points[0][0]:g} to {points[-1][0]:g}"
        )
    if not all(low <= gain <= high for _, gain in points):
        raise Rejected(f"h_gain_schedule must have gains {low:g} to {high:g}")
    _check_slopes("h_gain_schedule", points, (high - low) / _GAIN_RISE_US)
    return tuple(points)


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a number in JSON's sense: a bool does not count."""
    # orjson gives integers up to 64 bits and finite floats.
    return type(value) in {int, float}


def _points(name: str, submitted: object, most: int) -> Points:
    if not isinstance(submitted, list) or not 2 <= len(submitted) <= most:
        raise Rejected(f"{name} must be a list of 2 to {most} points (time, value)")
    for point in submitted:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise Rejected(f"{name} has points (time, value), not {point!r:.80}")
    return [(float(time), float(value)) for time, value in submitted]


def _check_anneal(points: Points, shortest: float, longest: float) -> None:
    times, fractions = zip(*points, strict=True)
    if times[0] != 0 or times[-1] > longest:
        raise Rejected(
            f"anneal_schedule must go from 0 to at most {longest:g} us, not {times[0]:g} to {times[-1]:g}"
        )
    in_range = all(0 <= fraction <= 1 for fraction in fractions)
    if not in_range or fractions[0] not in {0, 1} or fractions[-1] != 1:
        raise Rejected("anneal_schedule must have fractions 0 to 1, begin with 0 or 1 and end with 1")
    _check_slopes("anneal_schedule", points, 1 / shortest)
    for fraction, following in pairwise(fractions):
        if fractions[0] == 0 and following < fraction:
            raise Rejected(f"a forward anneal_schedule cannot go back, from {fraction:g} to {following:g}")


def _check_slopes(name: str, points: Points, steepest: float) -> None:
    for (time, value), (next_time, next_value) in pairwise(points):
        if next_time <= time:
            raise Rejected(f"{name}'s times must increase; {next_time:g} us follows {time:g} us")
        slope = abs(next_value - value) / (next_time - time)
        if round(slope, 10) > steepest:
            raise Rejected(f"{name}'s slope may be {steepest:g} per us at most, not {slope:g}")
