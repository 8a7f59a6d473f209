"""Which runs a caller sees and changes: those that its key has sent; all of them, with scope admin.

A key that was made with `--all-runs` sees those of others, and changes none of them. A route that has `{run}`
in its path takes it as `SeenRun`, or as `OwnRun` where it changes the run. What a caller does not see is
answered as if it were not there.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from starlette.concurrency import run_in_threadpool

from producer.api.core.authentication import Reader, Submitter
from producer.api.core.service import Service, Shared
from producer.api.keys.keys import Caller, Scope
from producer.runs import queries
from producer.runs.ownership import has_sent
from schema.errors import NotFound, RequestRefused

RunId = Annotated[int, Path(ge=1, lt=2**63, description="The run's number.")]


async def _seen(run: RunId, at: Shared, caller: Reader) -> int:
    if caller.only is not None:
        await run_in_threadpool(check_seen, at, caller, run)
    return run


async def _own(run: RunId, at: Shared, caller: Submitter) -> int:
    if caller.scope is not Scope.ADMIN:
        await run_in_threadpool(check_own, at, caller, run)
    return run


SeenRun = Annotated[int, Depends(_seen)]
OwnRun = Annotated[int, Depends(_own)]


def check_seen(at: Service, caller: Caller, run: int) -> None:
    """Raises NotFound where the caller does not see the run, or there is none."""
    with at.database.reading() as session:
        if caller.only is None:
            queries.progress(session, run)
        elif not has_sent(session, caller.only, run):
            raise NotFound(f"key {caller.name!r} has sent no run {run}, and sees its own only")


def check_own(at: Service, caller: Caller, run: int) -> None:
    """Raises NotFound as `check_seen` does; RequestRefused (403) where the caller may only look at it."""
    check_seen(at, caller, run)
    if caller.scope is Scope.ADMIN or caller.key_id is None:
        return
    with at.database.reading() as session:
        if not has_sent(session, caller.key_id, run):
            raise RequestRefused(
                f"run {run} was not sent by key {caller.name!r}",
                403,
                "use the key that sent it, or one of scope admin",
            )
