"""The runs that a caller sees and may change: those that its owner sent, or all with scope admin.

An owner that was added with `--all-runs` or `--sees` sees runs of others, but can change only its own. A
route with `{run}` in its path takes it as `SeenRun`, or as `OwnRun` if it changes the run. Runs that the
caller does not see are answered with 404, as if they did not exist.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from producer.api.keys.authentication import Reader, Submitter
from producer.api.keys.keys import Caller, Scope
from producer.runs import queries
from producer.runs.filters import has_sent
from schema.database import Database
from schema.errors import NotFound, RequestRefused

RunId = Annotated[int, Path(ge=1, lt=2**63, description="The run's number.")]


async def _seen(run: RunId, request: Request, caller: Reader) -> int:
    if caller.only is not None:
        service = request.app.state.service
        await service.pools.reads.run(check_seen, service.database, caller, run)
    return run


async def _own(run: RunId, request: Request, caller: Submitter) -> int:
    if caller.scope is not Scope.ADMIN:
        service = request.app.state.service
        await service.pools.reads.run(check_own, service.database, caller, run)
    return run


SeenRun = Annotated[int, Depends(_seen)]
OwnRun = Annotated[int, Depends(_own)]


def check_seen(database: Database, caller: Caller, run: int) -> None:
    """Raise NotFound if ``caller`` does not see ``run`` in ``database``, or it does not exist."""
    with database.reading() as session:
        if caller.only is None:
            queries.run(session, run)
        elif not has_sent(session, caller.only, run):
            raise NotFound(f"key {caller.name!r} has not sent a run {run}, and sees only its own runs")


def check_own(database: Database, caller: Caller, run: int) -> None:
    """Check that ``caller`` may change ``run`` in ``database``.

    Raises:
        NotFound: as in `check_seen`.
        RequestRefused: 403, the caller may only look at the run.
    """
    check_seen(database, caller, run)
    if caller.scope is Scope.ADMIN or caller.owner_id is None:
        return
    with database.reading() as session:
        if not has_sent(session, (caller.owner_id,), run):
            raise RequestRefused(
                f"run {run} was not sent by key {caller.name!r}",
                403,
                "use the key that sent it, or one of scope admin",
            )
