"""Chooses how often the images of a run are read, from the plans that a calibration has compared.

A plan reads all images some times, and the uncertain ones again; see `worker.compute.plans`. Problems are
charged whole, so the cheapest plan depends on the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.parameters import Parameters, Round, Visible
from schema.quantities import count_text, number_text
from schema.tables import Run

_TOLERANCE = 1.03  # a run costs at most this times what the best fixed number of reads costs
_MOST_TIMES = 4.0  # a later round may read at most this times the images that it is expected to read
_ROUNDING = 1e-9  # of problems: shares are quotients in float64
_STEPS = 1_000_000  # of a share
# Without a calibration. On the emulated Advantage_system6 `mnist` needs fewer reads (5) with either treatment
# of visible units, and `conv358` folded needs these, see tests/benchmarks/test_plans.py.
_USUAL = {
    Visible.FOLDED: (30, Round(70, 2.0, 0.2)),
    Visible.SAMPLED: (20, Round(80, 2.0, 0.2)),
}


@dataclass(frozen=True)
class ChosenReads:
    """How often the images of a run are read, and why.

    Attributes:
        reads: of all images, in the first round.
        rounds: the later ones.
        reason: why, for users.
    """

    reads: int
    rounds: tuple[Round, ...]
    reason: str

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the run by name."""
        return {"reads": self.reads, "rounds": self.rounds or None}


@dataclass(frozen=True)
class SetReads:
    """That images with sets of several classes are read again.

    Attributes:
        most: reads of an image in all rounds, as many as the calibration knows.
        has_budget: the run has a budget, which then is the only limit of its later rounds.
    """

    most: int
    has_budget: bool


@dataclass(frozen=True)
class _ListedPlan:
    """A plan as a calibration lists it, with its ``shares`` of images in later rounds."""

    reads: int
    rounds: tuple[tuple[int, float], ...]
    shares: tuple[float, ...]
    right: int
    eligible: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> _ListedPlan:
        rounds = tuple((int(reads), float(gap)) for reads, gap in values["rounds"])
        shares = tuple(float(share) for share in values["shares"])
        return cls(values["reads"], rounds, shares, values["right"], values["eligible"])


@dataclass(frozen=True)
class _PricedRun:
    """A run of ``images``, ``tiles`` in a full problem, and the prices of a problem and of a read."""

    images: int
    tiles: int
    fixed: float
    read: float

    def problems(self, share: float) -> int:
        """Return the problems of a round that reads ``share`` of the images: at least one."""
        return max(math.ceil(self.images * share / self.tiles - _ROUNDING), 1)

    def cost(self, plan: _ListedPlan, counts: Sequence[int] | None = None) -> float:
        """Return the cost of ``plan`` with ``counts`` of problems in later rounds; None: those expected."""
        if counts is None:
            counts = [self.problems(share) for share in plan.shares]
        reads = (plan.reads, *(reads for reads, _ in plan.rounds))
        numbers = (self.problems(1.0), *counts)
        return sum(
            number * (self.fixed + self.read * each) for number, each in zip(numbers, reads, strict=True)
        )


def choose_reads(
    plans: Mapping[str, Any],
    images: int,
    tiles: int | None,
    source: str,
    sets: SetReads | None = None,
    *,
    charged: bool = True,
) -> ChosenReads:
    """Return the cheapest plan for a run of ``images`` that is about as accurate as the most accurate one.

    The share of a later round is what the plan needs, times what is left up to 3 % above the cost of the best
    fixed number of reads, so that no run costs more than that. For ``sets`` a plan without a later round gets
    one; with a budget, later rounds may read all images.

    Args:
        plans: as `worker.compute.plans.choice.compare_plans` returns them.
        tiles: images that the run lays on a problem at most; None: as many as fit.
        source: the calibration, in words.
        charged: whether prices are QPU time in microseconds; otherwise they are sweeps.
    """
    listed, job, limit = _priced(plans, images, tiles)
    fixed = listed[plans["fixed"]]
    among = [plan for plan in listed if plan.eligible and job.cost(plan) <= limit] or [fixed]
    chosen = min(among, key=lambda plan: (job.cost(plan), -plan.right))
    counts = _most_problems(chosen, job, limit)
    rounds = _bounded(chosen, job, counts)
    text = _text(chosen, rounds, fixed, job, counts, plans["images"], charged=charged)
    if sets is not None:
        for_sets = _rounds_for_sets(chosen, rounds, job, limit, sets)
        rounds, text = for_sets, text + _sets_text(rounds, for_sets, sets)
    elif not rounds and listed[plans["chosen"]].rounds:
        text += "; a second round does not pay in a run of this size, as problems are charged whole"
    return ChosenReads(chosen.reads, rounds, f"{text}; by {source}")


def bounded_rounds(
    plans: Mapping[str, Any], index: int, images: int, tiles: int | None
) -> tuple[Round, ...] | None:
    """Return the later rounds of a plan in a run of ``images``, with shares as by `choose_reads`.

    None: the plan costs over 3 % more than the best fixed number of reads.

    Args:
        plans, tiles: as for `choose_reads`.
        index: of the plan, among those listed.
    """
    listed, job, limit = _priced(plans, images, tiles)
    plan = listed[index]
    return None if job.cost(plan) > limit else _bounded(plan, job, _most_problems(plan, job, limit))


def usual_reads(visible: Visible, command: str) -> ChosenReads:
    """Return the reads of a run on a network and solver without a calibration.

    Args:
        visible: how its visible units are treated.
        command: that calibrates.
    """
    reads, later = _USUAL[visible]
    text = (
        f"{count_text(reads, 'read')}, then {later.reads} more of uncertain images (at most "
        f"{later.share:.3g} of all): usual for {visible} visible units, not calibrated; `{command}` measures "
        "which number this network needs"
    )
    return ChosenReads(reads, (later,), text)


def reads_of_run(session: Session, key: str | None) -> tuple[bool, ChosenReads | None]:
    """Return whether a run exists under the idempotency ``key``, and its reads if they were chosen for it.

    So the same command and key are the same run, whatever was calibrated since.
    """
    if key is None:
        return False, None
    query = select(Run.parameters, Run.reads_reason).where(Run.idempotency_key == key)
    row = session.execute(query).first()
    if row is None or row.reads_reason is None:
        return row is not None, None
    parameters = Parameters.from_dict(row.parameters)
    return True, ChosenReads(parameters.reads, parameters.rounds or (), row.reads_reason)


def _priced(
    plans: Mapping[str, Any], images: int, tiles: int | None
) -> tuple[list[_ListedPlan], _PricedRun, float]:
    """Return the plans that are listed, a run of ``images``, and what it may cost at most."""
    whole = min(tiles or plans["tiles"], plans["tiles"])
    job = _PricedRun(max(images, 1), whole, plans["fixed_us"], plans["read_us"])
    listed = [_ListedPlan.of(each) for each in plans["listed"]]
    return listed, job, _TOLERANCE * job.cost(listed[plans["fixed"]])


def _bounded(plan: _ListedPlan, job: _PricedRun, counts: Sequence[int]) -> tuple[Round, ...]:
    """Return the later rounds of ``plan``, of at most ``counts`` problems each."""
    rounds = zip(plan.rounds, counts, strict=True)
    return tuple(Round(reads, gap, _share(count, job)) for (reads, gap), count in rounds)


def _most_problems(plan: _ListedPlan, job: _PricedRun, limit: float) -> list[int]:
    """Return how many problems each later round of ``plan`` may have, so that ``job`` stays in ``limit``."""
    expected = [job.problems(share) for share in plan.shares]
    times = _MOST_TIMES
    while times > 1.0:
        counts = [min(math.floor(times * count), job.problems(1.0)) for count in expected]
        if job.cost(plan, counts) <= limit:
            return counts
        times -= 0.05
    return expected


def _rounds_for_sets(
    plan: _ListedPlan, rounds: tuple[Round, ...], job: _PricedRun, limit: float, sets: SetReads
) -> tuple[Round, ...]:
    """Return ``rounds`` of ``plan`` as they also read images with sets of several classes; empty: none do."""
    if rounds:
        return tuple(each._replace(share=1.0) for each in rounds) if sets.has_budget else rounds
    more = sets.most - plan.reads
    if more < 1:
        return ()
    if sets.has_budget:
        return (Round(more, 0.0, 1.0),)
    problem = job.fixed + more * job.read
    count = min(math.floor((limit - job.cost(plan)) / problem + _ROUNDING), job.problems(1.0))
    return (Round(more, 0.0, _share(count, job)),) if count > 0 else ()


def _sets_text(rounds: Sequence[Round], for_sets: Sequence[Round], sets: SetReads) -> str:
    """Return how the rounds ``for_sets``, which were ``rounds``, read images with sets of several classes."""
    which = "images with sets of several classes"
    if rounds:
        until = ", until the budget ends" if sets.has_budget else ""
        return f"; {which} are read in these rounds, too{until}"
    if not for_sets:
        return f"; a budget (--budget) pays for more reads of {which}"
    until = "until the budget ends" if sets.has_budget else f"at most {for_sets[0].share:.2%} of all"
    return f"; then {number_text(for_sets[0].reads)} more of {which}, {until}"


def _share(problems: int, job: _PricedRun) -> float:
    """Return the share of the images of ``job`` that fill that many ``problems``, never more."""
    exact = min(problems * job.tiles / job.images, 1.0)
    return max(math.floor(exact * _STEPS), 1) / _STEPS


def _text(
    plan: _ListedPlan,
    rounds: Sequence[Round],
    fixed: _ListedPlan,
    job: _PricedRun,
    counts: Sequence[int],
    validated: int,
    *,
    charged: bool,
) -> str:
    unit = "us" if charged else "sweeps"
    accuracy = f"{plan.right / validated:.2%}"
    if not rounds:
        best = "the best fixed number" if plan == fixed else "the cheapest number of about the best accuracy"
        cost = f"{job.cost(plan) / job.images:,.0f} {unit} an image"
        return f"{count_text(plan.reads, 'read')}, {best} ({accuracy}, {cost})"
    later = ", ".join(
        f"then {number_text(reads)} more of images with an energy gap below {number_text(gap)} (about "
        f"{share:.2%} of all, at most {most.share:.2%})"
        for (reads, gap), share, most in zip(plan.rounds, plan.shares, rounds, strict=True)
    )
    expected, at_most, other = (
        value / job.images for value in (job.cost(plan), job.cost(plan, counts), job.cost(fixed))
    )
    return (
        f"{count_text(plan.reads, 'read')}, {later} ({accuracy}, {expected:,.0f} {unit} an image, at most "
        f"{at_most:,.0f}; {fixed.reads} reads of all: {fixed.right / validated:.2%}, {other:,.0f})"
    )
