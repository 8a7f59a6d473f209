"""Makes a dry run: finds the solver's graph and an embedding, and works out what a run would cost."""

from __future__ import annotations

from schema.tables import Preparation
from worker.context import Context
from worker.pipeline.attempt import attempt, claim, load_network, writing
from worker.records import dry_runs


def plan_dry_run(context: Context, preparation: int) -> None:
    """Claim the dry run ``preparation`` in ``context`` and store its plan; no problem is submitted."""
    from worker.qpus import estimate

    claimed = claim(context, Preparation, preparation, dry_runs.load)
    if claimed is None:
        return
    lease, request = claimed

    def report(step: str, fraction: float) -> None:
        with context.database.transaction() as session:
            dry_runs.report(session, preparation, step, fraction, request.time_limit_s)

    with attempt(context, lease):
        network = load_network(context, request.network, request.parameters)
        plan = estimate.estimate_dry_run(context, request, network, report)
        with writing(context, lease) as (session, now):
            dry_runs.store(session, preparation, plan, now=now)
