"""POST /v1/runs/RUN/rescore: scores the stored reads of a run in another way."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import insert
from sqlalchemy.orm import Session

from producer import jobs
from producer.api.core.run_permissions import OwnRun
from producer.api.core.service import Shared
from producer.api.keys.authentication import Submitter
from producer.api.live.links import links
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.runs import SubmittedRun
from producer.api.routes.runs.conflicts import conflicts
from producer.context import AppContext
from producer.runs import queries
from schema.parameters import Parameters, fields_of, limits_of
from schema.states import RunState
from schema.tables import RunSubmission

router = APIRouter(route_class=PooledRoute, tags=["runs"])

_CHANGEABLE = ("rule", "fraction", "beta", "reads", "unembedding", "confidence", "by_class")


class _Rescoring(BaseModel):
    """What is different when the reads are scored again; all else stays. `reads`: only the first N."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _described(name: str) -> str | None:
    if name == "reads":
        return "Only the first reads of each image, over all rounds; default: all."
    return fields_of(Parameters)[name].description


def _declared() -> dict[str, Any]:
    declared = fields_of(Parameters)
    return {
        name: (
            declared[name].annotation | None,  # type: ignore[operator] # a type at run time
            Field(None, description=_described(name), **limits_of(declared[name])),
        )
        for name in _CHANGEABLE
    }


Rescoring = create_model("Rescoring", __base__=_Rescoring, __doc__=_Rescoring.__doc__, **_declared())


@router.post(
    "/v1/runs/{run}/rescore", summary="Score a run again", status_code=202, response_model=SubmittedRun
)
def rescore_run(run: OwnRun, service: Shared, caller: Submitter, body: Rescoring) -> JSONResponse:  # type: ignore[valid-type] # made above
    """Score the stored reads of the finished `run` as the `body` says, as a new run; nothing is sampled."""
    changes = body.model_dump(exclude_none=True)  # type: ignore[attr-defined] # a model

    def own(session: Session, new: int) -> None:
        values = {"run_id": new, "owner_id": caller.owner_id, "created_at": service.database.now(session)}
        session.execute(insert(RunSubmission).values(values))

    with conflicts():
        made = jobs.submit_rescoring(AppContext(service.settings, service.database), run, changes, own)
    with service.database.reading() as session:
        notes = queries.run(session, made.id).notes
    of_run = links(made.id)
    submitted = {"run_id": made.id, "state": RunState.RUNNING, "created": True, "notes": notes}
    return answer({**submitted, "links": of_run}, 202, {"Location": of_run["self"]})
