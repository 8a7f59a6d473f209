"""Pauses, resumes and cancels runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from producer.api.core.run_permissions import OwnRun
from producer.api.core.service import Shared
from producer.api.keys.authentication import Submitter
from producer.api.keys.keys import Scope
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import CancelledRun, ResumedRun, RunStateNow
from producer.runs import control
from producer.runs.request import MAX_BUDGET_US
from schema.errors import ParameterError, RequestRefused
from schema.states import RunState

router = APIRouter(route_class=PooledRoute, tags=["runs"])


class Resumption(BaseModel):
    """The JSON body of .../resume, which is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_BUDGET_US / 1e6,
        description="A new budget of QPU seconds for the whole run.",
    )
    now: bool = Field(
        default=False,
        description="If the run waits for its window, open it now, until the next window closes.",
    )
    qpu: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The QPUs that the run may use from now on, as the option qpu; also while it waits.",
    )


@router.post("/v1/runs/{run}/cancel", summary="Cancel a run", response_model=CancelledRun)
def cancel_run(run: OwnRun, service: Shared) -> JSONResponse:
    """Cancel the `run`, and return its charges and problems still in flight. Scored images stay stored."""
    with _conflicts():
        spent = control.cancel(service.database, run)
    return JSONResponse({"run_id": run, "state": RunState.CANCELLED, **asdict(spent)})


@router.post("/v1/runs/{run}/pause", summary="Pause a run", response_model=RunStateNow)
def pause_run(run: OwnRun, service: Shared) -> JSONResponse:
    """Pause the `run`. Problems already submitted are still collected and stored."""
    with _conflicts():
        control.pause(service.database, run)
    return JSONResponse({"run_id": run, "state": RunState.PAUSED})


@router.post("/v1/runs/{run}/resume", summary="Resume a run", response_model=ResumedRun)
def resume_run(
    run: OwnRun, service: Shared, caller: Submitter, body: Resumption | None = None
) -> JSONResponse:
    """Resume the paused `run`, or repeat its failed batches, as the `body` says.

    Only a `caller` of scope admin may change the budget.
    """
    body = body or Resumption()
    budget_us = None if body.budget_s is None else max(round(body.budget_s * 1e6), 1)
    if budget_us is not None and caller.scope is not Scope.ADMIN:
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}; only scope admin may change a budget",
            403,
            "resume without budget_s, or use a key of scope admin",
        )
    with _conflicts('; POST /v1/runs/RUN/resume takes {"budget_s": SECONDS}, {"now": true}, {"qpu": NAME}'):
        batches = control.resume(service.database, run, budget_us, at_once=body.now, qpu=body.qpu)
    service.notifier.notify()
    return JSONResponse({"run_id": run, "batches_left": batches})


@contextmanager
def _conflicts(more: str = "") -> Iterator[None]:
    """Answer 409 if the state of the run does not allow the action."""
    try:
        yield
    except ParameterError as error:
        raise RequestRefused(str(error), 409, f"GET /v1/runs/RUN shows its state{more}") from None
