"""Rejects problems that were programmed wrongly, so that their images are sent again.

Once a batch is complete, its problems are compared with each other and with earlier ones of the same kind. A
suspect is rejected once, if the budgets allow another problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.compute.problem_checks import ProblemCheck, suspicions
from worker.records import measurements
from worker.scheduling import admission

if TYPE_CHECKING:
    from worker.remote.state import SubmissionState

log = structlog.get_logger()


def reject_misprogrammed(state: SubmissionState) -> bool:
    """Reject problems of the batch that were programmed wrongly; return whether there are any."""
    if not state.context.settings.check_problems or state.deferred is not None:
        return False
    batch, least = state.batch_input.batch, -(-state.program.tiles // 2)
    with state.context.database.reading() as session:
        judged = measurements.of_batch(session, batch, least)
        earlier = measurements.of_earlier(session, batch, state.terms.embedding_id, least)
    checks = [ProblemCheck(**each.measured) for each in judged]
    found = suspicions(checks, [ProblemCheck(**measured) for measured in earlier])
    suspects = [(each, z) for each, z in zip(judged, found, strict=True) if z]
    if not suspects:
        return False
    estimates_us = [state.terms.estimate_us(each.count, 0) for each, _ in suspects]
    with state.transaction() as (session, now):
        usage = admission.read_usage(
            session, state.batch_input.run, state.terms.graph_id, state.context.settings, now=now
        )
        admitted = admission.within_limits(usage, estimates_us).problems
        wrong = [(each.id, f"its reads are {z:.0f} deviations from usual") for each, z in suspects[:admitted]]
        measurements.reject(session, wrong, now=now)
    log.warning("problems programmed wrongly", problems=dict(wrong), accepted=len(suspects) - len(wrong))
    return bool(wrong)
