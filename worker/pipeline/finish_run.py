"""Finishes a run whose batches are all finished: begins its next round of reads, or computes its statistics
and ends it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import structlog

from schema.codecs.corruption import stored_in
from schema.database.crash_points import CrashPoint, reach
from schema.database.leader_lease import lead, process_name, release
from schema.errors import Corrupt, StaleState
from schema.messages import Message, Task
from worker.compute import summary
from worker.context import Context
from worker.pipeline.certainty import certainty_of
from worker.pipeline.controls import controls_of
from worker.pipeline.final_sets import settle_sets
from worker.records import calibrations, leases, runs
from worker.records.features import feature_sets
from worker.rounds import begin
from worker.scheduling import rechecks
from worker.scheduling.dispatch import dispatch

log = structlog.get_logger()


def finish_run(context: Context, run: int) -> None:
    """Compute the statistics of ``run`` in ``context`` and end it, if all of its batches are finished.

    If it has another round of reads, that begins instead.
    A cancelled run gets its statistics once none of its work is in progress.
    """
    database = context.database
    try:
        following = begin.begin_next(database, context.settings, run)
        if following.next is begin.Next.ROUND:
            reach(CrashPoint.ROUND_BEGUN)
            dispatch(database, context.settings, context.hints, accounts=context.solvers.account)
        if following.next is not begin.Next.END:
            return
        role, holder, lease_s = f"run {run}", _holder(), context.settings.lease_s
        with database.transaction() as session:
            now = database.now(session)
            ready = runs.start_aggregating(session, run, following.why, now=now)
            cancelled = not ready and runs.lacks_statistics(session, run)
            # Statistics of a large run take longer than a hint is waited for: the next one finds them begun.
            if not (ready or cancelled) or not lead(session, role, holder, now=now, lease_s=lease_s):
                return
        with leases.keep_leading(database, role, holder, lease_s):
            if cancelled:
                _store_statistics(context, run)
                return
            sets = settle_sets(context, run)
            with database.reading() as session:
                figures = runs.load_figures(session, run)
            reach(CrashPoint.AGGREGATING)
            statistics = _statistics(context, run, figures) if sets is None else sets
        with database.transaction() as session:
            now = database.now(session)
            runs.finish(session, run, figures, statistics, now=now)
            release(session, role, holder)
            rechecks.look_at_once(session, run, now=now)
            calibration = calibrations.waits_for(session, run)
    except StaleState:
        return
    log.info("run finished", failed_batches=figures.failed_batches)
    reach(CrashPoint.AGGREGATED)
    if calibration is not None:
        context.hints.send([Message(Task.CALIBRATE_NETWORK, calibration)])


@cache
def _holder() -> str:
    """Return the name that this process leads by: after an error it may begin again at once."""
    return process_name()


def _store_statistics(context: Context, run: int) -> None:
    with context.database.reading() as session:
        figures = runs.load_figures(session, run)
    statistics = _statistics(context, run, figures)
    with context.database.transaction() as session:
        runs.store_statistics(session, run, statistics)
        release(session, f"run {run}", _holder())


def _statistics(context: Context, run: int, figures: runs.Figures) -> dict[str, Any] | Corrupt:
    """Return the statistics of a run, or the damage in the stored bytes that they are computed from."""
    try:
        with stored_in(f"run {run}", f"score it again: `annealq runs rescore {run}`"):
            controls = controls_of(context, run)
            with context.database.reading() as session:
                computed = summary.summarise(figures, controls, runs.stored_chain_breaks(session, run))
                computed["features"] = feature_sets.figures_of(session, run)
            return computed | certainty_of(context, run)
    except Corrupt as error:
        return error
