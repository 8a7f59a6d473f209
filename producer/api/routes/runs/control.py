"""Pauses, resumes and cancels runs."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from producer.api.core.run_permissions import OwnRun
from producer.api.core.service import Shared
from producer.api.keys.authentication import Submitter
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import CancelledRun, ResumedRun, RunStateNow
from producer.api.routes.runs.conflicts import conflicts, new_budget_us
from producer.intake import background
from producer.runs import control
from producer.runs.request import MAX_BUDGET_US
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
        strict=True,
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
    """Cancel the `run`, and return its charges and problems still in flight. Scored images stay stored.

    A run that is cancelled already stays so.
    """
    with conflicts():
        spent = control.cancel(service.database, run, again=True)
    return JSONResponse({"run_id": run, "state": RunState.CANCELLED, **asdict(spent)})


@router.post("/v1/runs/{run}/pause", summary="Pause a run", response_model=RunStateNow)
def pause_run(run: OwnRun, service: Shared) -> JSONResponse:
    """Pause the `run`. Problems already submitted are still collected and stored.

    A run that is paused already stays so.
    """
    with conflicts():
        control.pause(service.database, run, again=True)
    return JSONResponse({"run_id": run, "state": RunState.PAUSED})


@router.post("/v1/runs/{run}/resume", summary="Resume a run", response_model=ResumedRun)
def resume_run(
    run: OwnRun, service: Shared, caller: Submitter, body: Resumption | None = None
) -> JSONResponse:
    """Resume the paused `run`, or repeat its failed batches, as the `body` says. A live run stays so.

    Only a `caller` of scope admin may change the budget.
    """
    body = body or Resumption()
    budget_us = None if body.budget_s is None else new_budget_us(caller, body.budget_s)
    with conflicts('; POST /v1/runs/RUN/resume takes {"budget_s": SECONDS}, {"now": true}, {"qpu": NAME}'):
        batches = control.resume(service.database, run, budget_us, at_once=body.now, qpu=body.qpu, again=True)
    if background.restart(service.database, run):
        service.reader.wake()
    service.notifier.notify()
    return JSONResponse({"run_id": run, "batches_left": batches})
