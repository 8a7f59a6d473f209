"""Decides whether the newest problems of a chip differ from its past: its temperature, or its errors.

Each problem has measured values (see `problem_checks`). Problems are compared with earlier ones of the same
kind: embedding, network, images and reads. Each value becomes a z by the median and the spread of these, cut
at +-4, so that one problem that was programmed wrongly counts little. The z of the newest problems, of any
kind, are averaged in two ways: with weights that fall by a fifth from problem to problem (an exponentially
weighted moving average, as in control charts, Roberts 1959), which sees a large step soon; and evenly over
all of a window, which sees a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

WINDOW = 20  # newest problems that are judged
PAST = 100  # earlier problems of their kind that they are compared with, at most
LEAST = 30  # of these; problems of a kind with fewer are not judged
LIMIT = 4.5  # standard deviations of an average, which a Gaussian exceeds once in 150,000 problems
_UNSURE = 10.0  # with that many earlier problems the limit is twice as high: their spread is not known well
_BACK = 3.0  # standard errors of the mean of a whole window, for an alarm to end
_WEIGHT = 0.2  # of the newest problem
_CUT = 4.0
_SHOWN = 5  # problems whose median an alarm states
_SHARES = (15.9, 50.0, 84.1)  # percentiles: two thirds of the values are between the outer two


_FIELDS = ("beta", "chain_breaks", "fields")
_NAMES = ("inverse temperature", "chain breaks", "field errors")
_FORMS = ("{:.2f}", "{:.2%}", "{:.2f}")
_BOTH_WAYS = np.array([True, False, False])  # fewer errors give no alarm
# Spreads that may mean other images, not another chip: of the temperature as a share of it, of the logarithm
# of chain breaks, and of asinh of field errors. The least step in temperature that is an alarm is 5 %.
_LEAST_SPREAD = (0.045, 0.5, 0.3)


@dataclass(frozen=True)
class ChipProblem:
    """A good problem of a chip: its kind, such as embedding, network and reads, and what was measured."""

    kind: tuple[Any, ...]
    measured: Mapping[str, Any]


@dataclass(frozen=True)
class ChipVerdict:
    """What follows from the newest problems: an ``alarm`` to raise, or one that is ``over``, and why."""

    alarm: str | None = None
    over: str | None = None


def judge(earlier: Sequence[ChipProblem], newest: Sequence[ChipProblem], *, alarmed: bool) -> ChipVerdict:
    """Judge the newest problems of a chip.

    Args:
        earlier: its past, oldest first; while there is an alarm, what was before it.
        newest: up to `WINDOW` problems, oldest first; while there is an alarm, those after it.
        alarmed: whether there is an alarm, which ends when the mean of a whole window is as it was.
    """
    pasts = {kind: _of_kind(earlier, kind) for kind in {problem.kind for problem in newest}}
    scales = {kind: _Scale.of(past) for kind, past in pasts.items() if len(past) >= LEAST}
    judged = [problem for problem in newest[-WINDOW:] if problem.kind in scales]
    if not judged:
        return ChipVerdict()
    rows = zip(judged, _table(judged), strict=True)
    z = np.stack([scales[problem.kind].deviations(row) for problem, row in rows])
    if alarmed:
        is_back = len(judged) == WINDOW and bool((np.abs(z.mean(axis=0)) * WINDOW**0.5 < _BACK).all())
        return ChipVerdict(over=f"its newest {WINDOW} problems are as usual") if is_back else ChipVerdict()
    falling = (1.0 - _WEIGHT) ** np.arange(len(judged))[::-1]
    weights = np.stack((falling, np.ones(len(judged))))
    levels = weights @ z / np.linalg.norm(weights, axis=1, keepdims=True)
    level = np.where(_BOTH_WAYS, np.abs(levels), levels).max(axis=0)
    kind = judged[-1].kind
    found = np.flatnonzero(level > LIMIT * (1.0 + _UNSURE / len(pasts[kind])))
    latest = [problem for problem in judged if problem.kind == kind][-_SHOWN:]
    texts = [_text(index, latest, pasts[kind]) for index in found.tolist()]
    return ChipVerdict(alarm="; ".join(texts) or None)


def compare(past: Sequence[Mapping[str, Any]], newest: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how the ``newest`` measured problems differ from ``past`` ones by more than an alarm's limit.

    There may be few of both: medians are compared, each as uncertain as the mean of as many values, of a
    window at most. The spread is that of many past ones, or else that of both about their medians, which few
    do not show well; it is not below the least spreads that count for an alarm. None: they do not differ.
    Fewer errors than in the past do not count as a difference.
    """
    before, now = (_table([ChipProblem((), each) for each in both]) for both in (past, newest))
    spread = _least_spread(np.median(before, axis=0))
    if len(before) >= LEAST:
        low, high = np.percentile(before, (_SHARES[0], _SHARES[2]), axis=0)
        spread = np.maximum((high - low) / 2.0, spread)
    elif (total := len(before) + len(now)) > 2:
        squares = sum(((both - np.median(both, axis=0)) ** 2).sum(axis=0) for both in (before, now))
        spread = np.maximum((squares / (total - 2)) ** 0.5 * (1.0 + _UNSURE / total), spread)
    error = spread * sum(1.0 / min(len(both), WINDOW) for both in (before, now)) ** 0.5
    level = (np.median(now, axis=0) - np.median(before, axis=0)) / error
    found = np.flatnonzero(np.where(_BOTH_WAYS, np.abs(level), level) > LIMIT)
    texts = []
    for index in found.tolist():
        field, form = _FIELDS[index], _FORMS[index].format
        values = [form(usual(both, field)[1]) for both in (newest, past)]
        texts.append(f"{_NAMES[index]} {values[0]}, calibrated with {values[1]}")
    return "; ".join(texts) or None


def usual(measured: Sequence[Mapping[str, Any]], field: str) -> tuple[float, float, float]:
    """Return the median of ``field`` of ``measured`` problems, between the bounds of two thirds of them."""
    low, middle, high = np.percentile([float(each[field]) for each in measured], _SHARES)
    return float(low), float(middle), float(high)


@dataclass(frozen=True, eq=False)
class _Scale:
    """What turns statistics of problems of one kind into z: each (3,) float64."""

    middle: FloatArray
    spread: FloatArray
    mean: FloatArray  # of the cut z of the past, whose values are not Gaussian
    deviation: FloatArray

    @classmethod
    def of(cls, past: Sequence[ChipProblem]) -> _Scale:
        """Return the scale by the ``past`` of the kind."""
        table = _table(past)
        low, middle, high = np.percentile(table, _SHARES, axis=0)
        spread = np.maximum((high - low) / 2.0, _least_spread(middle))
        z = np.clip((table - middle) / spread, -_CUT, _CUT)
        return cls(middle, spread, z.mean(axis=0), np.maximum(z.std(axis=0), 1.0))

    def deviations(self, table: FloatArray) -> FloatArray:
        """Return z of statistics ``table``, both (..., 3)."""
        z = np.clip((table - self.middle) / self.spread, -_CUT, _CUT)
        return np.asarray((z - self.mean) / self.deviation, np.float64)


def _least_spread(middle: FloatArray) -> FloatArray:
    """Return the least spreads (3,) of statistics with the medians ``middle`` (3,)."""
    least = np.array(_LEAST_SPREAD)
    least[0] *= middle[0]
    return least


def _of_kind(earlier: Sequence[ChipProblem], kind: tuple[Any, ...]) -> list[ChipProblem]:
    return [problem for problem in earlier if problem.kind == kind][-PAST:]


def _table(problems: Sequence[ChipProblem]) -> FloatArray:
    """Return the statistics (n, 3) of ``problems``, on scales on which their spread varies little."""
    values = np.array([[problem.measured[field] for field in _FIELDS] for problem in problems], np.float64)
    beta, breaks, fields = values.T
    # Reads that hardly ever leave their fields say little: beta may be twice what it is, the temperature not.
    return np.stack((1.0 / np.maximum(beta, 1e-3), np.log(breaks + 1e-3), np.arcsinh(fields)), axis=1)


def _text(index: int, latest: Sequence[ChipProblem], past: Sequence[ChipProblem]) -> str:
    field, form = _FIELDS[index], _FORMS[index].format
    _, now, _ = usual([problem.measured for problem in latest], field)
    low, _, high = usual([problem.measured for problem in past], field)
    return f"{_NAMES[index]} {form(now)}, usual {form(low)} to {form(high)}"
