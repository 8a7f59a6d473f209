"""Rejects problems that were programmed wrongly, and raises alarms about chips that have changed.

Once a batch is complete, its problems are compared with each other and with earlier ones of the same kind. A
suspect is rejected once, if the budgets allow another problem, so that its images are sent again. Then the
newest good problems of the chip are compared with its past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.compute.chip_alarm import PAST, WINDOW, ChipProblem, judge
from worker.compute.problem_checks import ProblemCheck, suspicions
from worker.records import measurements
from worker.scheduling import admission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.remote.state import SubmissionState

log = structlog.get_logger()

_EVERY = 20  # problems; a look at the chip's past takes as long as measuring one


def reject_misprogrammed(state: SubmissionState) -> bool:
    """Reject problems of the batch that were programmed wrongly; return whether there are any."""
    if not state.context.settings.check_problems or state.deferred is not None:
        return False
    batch, least = state.batch_input.batch, -(-state.program.tiles // 2)
    with state.context.database.reading() as session:
        judged = measurements.of_batch(session, batch, state.terms.embedding_id, least)
        earlier = measurements.of_earlier(session, batch, state.terms.embedding_id, least)
    checks = [ProblemCheck(**each.measured) for each in judged]
    found = suspicions(checks, [ProblemCheck(**measured) for measured in earlier])
    suspects = [(each, z) for each, z in zip(judged, found, strict=True) if z]
    if not suspects:
        return False
    estimates_us = [state.terms.estimate_us(each.count, 0) for each, _ in suspects]
    with state.transaction() as (session, now):
        usage = admission.read_usage(
            session, state.batch_input.run, state.qpu.name, state.terms.graph_id, state.context.settings,
            now=now,
        )  # fmt: skip
        admitted = admission.within_limits(usage, estimates_us).problems
        wrong = [(each.id, f"its reads are {z:.0f} deviations from usual") for each, z in suspects[:admitted]]
        measurements.reject(session, wrong, now=now)
    log.warning("problems programmed wrongly", problems=dict(wrong), accepted=len(suspects) - len(wrong))
    return bool(wrong)


def watch_chip(state: SubmissionState) -> None:
    """Raise or end the alarm about the chip of the batch, once for every 20 problems of this database."""
    graph_id = state.terms.graph_id
    with state.context.database.reading() as session:
        first, last = measurements.ids_of_batch(session, state.batch_input.batch)
        if (first - 1) // _EVERY == last // _EVERY:
            return
        decision = _decide(session, graph_id)
    if decision is None:
        return
    event, why = decision
    with state.transaction() as (session, now):
        changed = measurements.set_alarm(session, graph_id, event, why, now=now)
    if changed:
        log.warning("alarm of a chip", qpu=state.qpu.name, graph=graph_id, now=event, why=why)


def _decide(session: Session, graph_id: str) -> tuple[str, str] | None:
    """Return the event of the chip that its newest problems call for, and why; None for none."""
    latest = measurements.latest_alarm(session, graph_id)
    count = (PAST + WINDOW) * (1 if latest is None else 2)
    found = measurements.newest_of_chip(session, graph_id, count)
    before, after, alarmed = [], found, False
    if latest is not None:
        began, ended = latest
        # The problems of an alarm, and those that raised it, are not what is usual.
        before = [problem for problem in found if problem.answered_at <= began][:-WINDOW]
        after = [problem for problem in found if problem.answered_at > (ended or began)]
        alarmed = ended is None
    if alarmed and len(after) >= PAST:
        return measurements.RENEWED, f"its newest {len(after)} problems count as usual from now on"
    earlier = before if alarmed else before + after[:-WINDOW]
    verdict = judge(_problems(earlier), _problems(after[-WINDOW:]), alarmed=alarmed)
    if verdict.alarm is not None:
        return measurements.ALARM, verdict.alarm
    return None if verdict.over is None else (measurements.USUAL, verdict.over)


def _problems(found: Sequence[measurements.GoodProblem]) -> list[ChipProblem]:
    return [ChipProblem(problem.kind, problem.measured) for problem in found]
