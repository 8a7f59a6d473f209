"""Calibrations over HTTP: how far they are, and what they found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer, page_path
from producer.api.models.calibrations import CalibrationPage
from producer.calibration import queries
from producer.calibration.queries import CalibrationSummary
from producer.networks.queries import network_by_name

router = APIRouter(route_class=PooledRoute, tags=["calibrations"])

_PATH = "/v1/calibrations"
_MAX_PAGE = 500


class CalibrationQuery(BaseModel):
    """Which calibrations are wanted, and how many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Annotated[
        str | None, Query(min_length=1, max_length=200, description="NAME or NAME@VERSION.")
    ] = None
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="How many.")] = 20
    before: Annotated[
        int | None, Query(ge=1, lt=2**63, description="Only calibrations older than this one.")
    ] = None


@router.get(_PATH, summary="List calibrations", response_model=CalibrationPage, responses={404: {}})
def list_calibrations(
    service: Shared, _caller: Reader, query: Annotated[CalibrationQuery, Query()]
) -> JSONResponse:
    """Return the calibrations that the `query` wants, newest first. Runs of all callers use them."""
    with service.database.reading() as session:
        network = None if query.network is None else network_by_name(session, query.network).network_id
        # One more tells whether there is another page.
        found = queries.list_calibrations(session, network, limit=query.limit + 1, before=query.before)
    shown = found[: query.limit]
    older = {**query.model_dump(exclude_none=True), "before": shown[-1].calibration_id if shown else None}
    following = page_path(_PATH, older) if len(found) > query.limit else None
    return answer(CalibrationPage(calibrations=shown, next=following))


@router.get("/v1/calibrations/{calibration}", summary="Show a calibration", response_model=CalibrationSummary)
def show_calibration(
    calibration: Annotated[int, Path(ge=1, lt=2**63)], service: Shared, _caller: Reader
) -> JSONResponse:
    """Return a calibration: `plan_state` and `progress` before it has runs, `parameters` once it is `ready`.

    `measured` has the accuracy and the cost of everything that was compared.
    """
    with service.database.reading() as session:
        return answer(queries.get(session, calibration))
