"""Decides which QPU gets a batch, of those that its run may use. Pure functions, no I/O.

Unless the cheapest is wanted, a batch goes where it is done soonest, after our problems that are there:

    time = (QPU time of our problems and batches there + QPU time of the batch) / (1 - stated load)

A budget comes first: a QPU may have the batch only if the rest of the run can still be paid where an image
takes least. If equal, the QPU that was named first gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_MOST_LOAD = 0.95  # a QPU that states more is still not asked to wait for more than twenty times as long


@dataclass(frozen=True)
class QpuCandidate:
    """A QPU that a run may use, as a batch finds it. QPU time is in microseconds.

    Attributes:
        graph_id: its working graph.
        batch_us: QPU time of the batch there.
        image_us: QPU time of an image in a full problem.
        known: by the stored embedding; otherwise both times are the least that is possible.
        backlog_us: QPU time of our problems in flight there, and of the batches that were given to it.
        load: the share of its time that is taken, as the service states it, 0 to 1.
        begun: problems of this batch are in flight there.
        barred: why it takes nothing now; None: it does.
        refused: it cannot take the network or the parameters at all, which ``barred`` explains.
    """

    name: str
    graph_id: str = ""
    batch_us: float = 0.0
    image_us: float = 0.0
    known: bool = True
    backlog_us: float = 0.0
    load: float = 0.0
    begun: bool = False
    barred: str | None = None
    refused: bool = False

    @property
    def done_s(self) -> float:
        """Return the seconds until the batch is done there."""
        return (self.backlog_us + self.batch_us) / (1.0 - min(max(self.load, 0.0), _MOST_LOAD)) / 1e6

    @property
    def text(self) -> str:
        """Return what decides about it, for display."""
        if self.barred is not None:
            return f"{self.name}: {self.barred}"
        least = "" if self.known else "at least "
        return f"{self.name}: {least}{self.image_us:,.1f} us an image, done in {least}{self.done_s:.3g} s"


@dataclass(frozen=True)
class Decision:
    """The QPU that a batch is given to, and why."""

    qpu: QpuCandidate
    why: str


def decide(
    candidates: Sequence[QpuCandidate], *, cheapest: bool = False, left_us: float | None = None, rest: int = 0
) -> Decision | None:
    """Return which of ``candidates`` gets a batch; None if all are barred.

    A batch with problems in flight stays with the QPU that has them, unless that is barred.

    Args:
        candidates: in the order of preference.
        cheapest: the least QPU time counts, and among equals the time.
        left_us: what is left of the run's budget, microseconds; None: there is none.
        rest: images of the run that follow those of the batch.
    """
    able = [candidate for candidate in candidates if candidate.barred is None]
    if not able:
        return None
    if begun := [candidate for candidate in able if candidate.begun]:
        return _decision(begun[0], candidates, "it has problems of the batch")
    affordable = _affordable(able, left_us, rest)
    if cheapest or not affordable:
        why = "the least QPU time" if cheapest else "the budget does not suffice: the least QPU time"
        return _decision(min(able, key=lambda each: (each.batch_us, each.done_s)), candidates, why)
    why = "done soonest" if len(affordable) == len(able) else "done soonest within the budget"
    return _decision(min(affordable, key=lambda each: each.done_s), candidates, why)


def spread(
    candidates: Sequence[QpuCandidate], batches: int, images: int, *, cheapest: bool = False
) -> dict[str, int]:
    """Return the number of ``batches`` of ``images`` images that each of ``candidates`` gets, by name.

    It is what happens if all are decided at once, and nothing changes meanwhile.
    """
    counts = {candidate.name: 0 for candidate in candidates}
    now = list(candidates)
    for left in range(batches - 1, -1, -1):
        decision = decide(now, cheapest=cheapest, rest=left * images)
        if decision is None:
            break
        counts[decision.qpu.name] += 1
        taken = replace(decision.qpu, backlog_us=decision.qpu.backlog_us + decision.qpu.batch_us)
        now = [taken if each.name == taken.name else each for each in now]
    return counts


def _affordable(able: Sequence[QpuCandidate], left_us: float | None, rest: int) -> list[QpuCandidate]:
    if left_us is None:
        return list(able)
    least_us = min(candidate.image_us for candidate in able) * rest
    return [candidate for candidate in able if candidate.batch_us + least_us <= left_us]


def _decision(chosen: QpuCandidate, candidates: Sequence[QpuCandidate], why: str) -> Decision:
    others = "; ".join(each.text for each in candidates if each.name != chosen.name and not each.refused)
    return Decision(chosen, f"{why}: {chosen.text}" + (f" ({others})" if others else ""))
