"""Dry runs over HTTP: what a run on a solver with qubits would need and cost. Nothing is charged."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from producer import jobs
from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader, Submitter
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.routes.submissions.options import Text, parameter_fields
from producer.context import AppContext
from producer.networks.choose import find_network
from producer.networks.queries import NetworkSummary
from producer.runs import dry_runs
from producer.runs.dry_runs import DryRunSummary
from producer.runs.request import RunRequest
from schema.database import Database
from schema.parameters import AUTO, MAX_BATCH_SIZE, Parameters, Solver, fields_of
from schema.parameters.batch_sizes import REMOTE_BATCH_SIZE

router = APIRouter(route_class=PooledRoute, tags=["runs"])


class DryRunBody(BaseModel):
    """The run that is estimated, with sampling parameters as for POST /v1/runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: Text = Field(description="NAME or NAME@VERSION.")
    solver: Solver = Field(description="emulator or dwave; other solvers cost nothing.")
    images: int = Field(0, ge=0, le=10**9, description="Their number; 0: only the embedding is wanted.")
    batch_size: int = Field(REMOTE_BATCH_SIZE, ge=1, le=MAX_BATCH_SIZE)
    time_limit_s: float = Field(60.0, gt=0, le=86_400, description="For a search for an embedding.")

    def parameters(self, database: Database, network: NetworkSummary) -> Parameters:
        """Return the sampling parameters; with reads auto those of a run on ``network`` of ``database``.

        Raises:
            ParameterError: a value is out of range, or the solver does not have it.
        """
        asked = self.model_dump(include=set(fields_of(Parameters)), exclude_none=True)
        if asked.get("reads") != AUTO:
            return Parameters.from_dict(asked)
        request = RunRequest(solver=self.solver, asked=asked)
        return jobs.complete_parameters(
            database, request, network.network_id, network.name, self.images
        ).parameters


DryRun = create_model("DryRun", __base__=DryRunBody, __doc__=DryRunBody.__doc__, **parameter_fields())


@router.post("/v1/dry-runs", summary="Estimate a run", status_code=202, response_model=DryRunSummary)
def submit_dry_run(service: Shared, _caller: Submitter, body: DryRun) -> JSONResponse:  # type: ignore[valid-type] # made above
    """Ask a worker what the run would need: an embedding, problems and QPU time. Nothing is sent.

    The path in `Location` has the answer once its state is `ready`.
    """
    asked: Any = body
    network = find_network(service.database, asked.network)
    number = jobs.submit_dry_run(
        AppContext(service.settings, service.database),
        network.network_id,
        asked.solver,
        asked.parameters(service.database, network),
        images=asked.images,
        batch_size=asked.batch_size,
        time_limit_s=asked.time_limit_s,
    )
    with service.database.reading() as session:
        return answer(dry_runs.get(session, number), 202, {"Location": f"/v1/dry-runs/{number}"})


@router.get("/v1/dry-runs/{dry_run}", summary="Show an estimate", response_model=DryRunSummary)
def show_dry_run(
    dry_run: Annotated[int, Path(ge=1, lt=2**63)], service: Shared, _caller: Reader
) -> JSONResponse:
    """Return the estimate: `plan` has embedding, tiles, problems and QPU time once `state` is `ready`."""
    with service.database.reading() as session:
        return answer(dry_runs.get(session, dry_run))
