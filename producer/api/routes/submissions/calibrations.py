"""POST /v1/calibrations: fits sampling parameters of a network on labelled images; workers do all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from producer import jobs
from producer.api.core.errors import InvalidFields
from producer.api.core.service import Service, Shared
from producer.api.keys import limits
from producer.api.keys.authentication import Submitter
from producer.api.keys.keys import Caller
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.calibrations import SubmittedCalibration
from producer.api.routes.submissions import uploads
from producer.api.routes.submissions.bodies import IdempotencyKey, own_key, parse_json, read_form, unsupported
from producer.api.routes.submissions.options import LongText, Text, request_fields
from producer.calibration import queries
from producer.calibration.grid import ParameterGrid
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import Preprocessing
from producer.networks import choose
from producer.networks.compatibility import notes_for
from producer.runs.request import MAX_BUDGET_US, RunRequest
from schema.errors import IdempotencyConflict, ParameterError
from schema.parameters import MAX_READS, Visible

router = APIRouter(route_class=PooledRoute, tags=["calibrations"])

_MAX_VALUES = 50
_READING = ("solver", "limit", "read_as", "resize", "fit", "invert", "scale_pixels")


def _numbers(value: Any) -> Any:
    """Return numbers that a form has with commas between them as a list."""
    return value.split(",") if isinstance(value, str) else value


def _values(kind: Any, about: str) -> Any:
    numbers = Annotated[list[kind], Field(min_length=1, max_length=_MAX_VALUES), BeforeValidator(_numbers)]
    return numbers | None, Field(None, description=f"{about} In a form: with commas between them.")


class CalibrationFields(BaseModel):
    """What is compared, on which labelled images: those of the form, or those at a `uri`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: Text = Field(description="NAME or NAME@VERSION.")
    name: Text | None = Field(None, description="Of the images, for display.")
    budget_s: float | None = Field(
        None,
        gt=0,
        le=MAX_BUDGET_US / 1e6,
        description="QPU seconds that all runs together may be charged; necessary for a QPU, and only there. "
        "The more, the more images are compared.",
    )
    reads: int | None = Field(
        None, ge=1, le=MAX_READS, description="The most anneals for an image; default: 1,000, QPU: 100."
    )
    visible: Visible | None = Field(None, description="Default: sampled; on a QPU both are compared.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same reads.")
    qpu: Text | None = Field(None, description="QPU: the name of a solver, or features as JSON.")
    tiles: int | None = Field(None, ge=1, description="QPU: the most images in a problem.")
    cross: bool = Field(False, description="QPU: compare all combinations.")
    classes: LongText | None = Field(None, description="Only images with these labels: 0,1,7 or names.")
    part: Text | None = Field(None, description="Split or array to use where the data has several.")
    uri: LongText | None = Field(None, description="A file below the operator's folders, instead of images.")

    def request(self) -> RunRequest:
        """Return which images are meant; raise ParameterError if a value is out of range."""
        classes = None if self.classes is None else tuple(self.classes.split(","))
        return RunRequest(**self.model_dump(include={*_READING}), network=self.network, classes=classes)

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image; raise ParameterError as `request` does."""
        return self.request().preprocessing

    def grid(self) -> ParameterGrid:
        """Return what is compared; raise ParameterError if the solver does not have it."""
        values = self.model_dump(include={"lam", "sweeps", "chain_strength", "scale"}, exclude_none=True)
        lists = {name if name == "sweeps" else f"{name}s": tuple(given) for name, given in values.items()}
        same = self.model_dump(include={"reads", "seed", "qpu", "tiles"})
        visibles = None if self.visible is None else (self.visible,)
        solver = self.request().solver
        return ParameterGrid.of(solver, visibles=visibles, crossed=self.cross, **same, **lists)

    def budget_us(self) -> int | None:
        """Return the budget in microseconds; raise ParameterError if it is missing, or nothing is charged."""
        solver = self.request().solver
        if solver.is_remote and self.budget_s is None:
            raise ParameterError(
                f"budget_s is missing: solver {solver} charges QPU time; give the seconds that may be charged"
            )
        if self.budget_s is None:
            return None
        if not solver.is_remote:
            raise ParameterError(f"budget_s: solver {solver} charges nothing: leave it out")
        return max(math.ceil(self.budget_s * 1e6), 1)


class CalibrationBody(CalibrationFields):
    """The JSON body of POST /v1/calibrations: labelled images as numbers, or a `uri`."""

    images: list[Any] | None = Field(None, description="(N, H, W): rows of pixels, 0..255 or 0..1.")
    labels: list[Any] | None = Field(None, description="A whole number for each image.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.images is None) == (self.uri is None):
            raise ValueError("give either `images` or a `uri`")
        return self


_DECLARED = request_fields(*_READING) | {
    "lam": _values(float, "One-hot penalties to compare; default: multiples of the network's own."),
    "sweeps": _values(int, "Sweeps of the local annealer to compare."),
    "chain_strength": _values(float, "QPU: chain strengths to compare."),
    "scale": _values(float, "QPU: scales to compare."),
}
CalibrationForm = create_model(
    "CalibrationForm", __base__=CalibrationFields, __doc__=CalibrationFields.__doc__, **_DECLARED
)
CalibrationRequest = create_model(
    "CalibrationRequest", __base__=CalibrationBody, __doc__=CalibrationBody.__doc__, **_DECLARED
)


def schemas() -> dict[str, Any]:
    """Return the JSON schemas of the JSON body and the form by name, for /openapi.json."""
    described: dict[str, Any] = {}
    for model in (CalibrationRequest, CalibrationForm):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        described |= schema.pop("$defs", {})
        described[model.__name__] = schema
    file = {"type": "string", "format": "binary"}
    files = {"images": {"type": "array", "items": file}, "labels": file}
    described["CalibrationForm"]["properties"] |= files
    return described


@router.post(
    "/v1/calibrations",
    summary="Calibrate a network",
    status_code=202,
    response_model=SubmittedCalibration,
    responses={
        200: {
            "model": SubmittedCalibration,
            "description": "It exists already, by the same Idempotency-Key; or the same is not finished yet.",
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/CalibrationRequest"}},
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/CalibrationForm"}},
            },
        }
    },
)
async def submit_calibration(
    request: Request, service: Shared, caller: Submitter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Enqueue a calibration, as `annealq networks calibrate --detach`; the path in `Location` shows it.

    A worker finds out what the settings cost, chooses the images that the budget suffices for, and enqueues a
    run for each setting. Once the `state` is `ready`, runs of the network on that solver use the result.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        return await service.pools.writes.run(_from_json, service, caller, body, idempotency_key)
    if kind == "multipart/form-data":
        async with read_form(request) as parts:
            items = parts.multi_items()
            return await service.pools.writes.run(_from_form, service, caller, items, idempotency_key)
    raise unsupported(kind)


def _from_json(service: Service, caller: Caller, body: bytes, key: str | None) -> JSONResponse:
    limits.refuse_above(service.database, caller, key)
    with service.decoded.account() as take:
        asked: Any = _validated(CalibrationRequest, parse_json(body, take))
        allowed = uploads.allowance(service.api, take)
        if asked.uri is not None:
            takes = choose.inputs(service.database, asked.network)
            images = uploads.read_uri(asked.uri, asked, service.api, allowed, takes)
        else:
            images = uploads.read_numbers(asked)
        return _enqueue(service, caller, asked, images, key, allowed)


def _from_form(
    service: Service, caller: Caller, parts: list[tuple[str, UploadFile | str]], key: str | None
) -> JSONResponse:
    asked: Any = _validated(CalibrationForm, dict(part for part in parts if isinstance(part[1], str)))
    files = uploads.sent_files(parts, "images", "labels")
    if len(files["labels"]) > 1 or bool(files["images"]) == (asked.uri is not None):
        raise ParameterError(
            "a form has either a `uri` or one file or more called `images`, and at most one called `labels`"
        )
    limits.refuse_above(service.database, caller, key)
    with service.decoded.account() as take:
        allowed = uploads.allowance(service.api, take)
        takes = choose.inputs(service.database, asked.network)
        images = uploads.read_sent(files, asked.uri, asked, service.api, allowed, takes)
        return _enqueue(service, caller, asked, images, key, allowed)


def _validated(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidFields(error.errors(), "body") from None


def _enqueue(
    service: Service,
    caller: Caller,
    asked: CalibrationFields,
    images: ImageSet,
    key: str | None,
    allowed: Allowance,
) -> JSONResponse:
    request, grid, budget_us = asked.request(), asked.grid(), asked.budget_us()
    images = request.select(images)
    allowed.training_set(images.images.nbytes)
    if asked.name is not None:
        images = replace(images, name=asked.name)

    def count(session: Session, settings: int) -> None:
        now, number = service.database.now(session), settings * len(images.images)
        limits.count_calibration(session, caller, number, budget_us, now=now)

    key_of_owner = None if key is None else own_key(caller, key)
    network = service.networks.choose(images, asked.network)
    try:
        queued = jobs.submit_calibration(
            AppContext(service.settings, service.database),
            images,
            network,
            request.solver,
            grid,
            budget_us,
            key=key_of_owner,
            owner=caller.owner_id,
            also=count,
            notify=service.notifier.notify,
        )
    except IdempotencyConflict as error:  # its key is shown as the caller chose it
        raise IdempotencyConflict(str(error).replace(repr(key_of_owner), repr(key)), error.fields) from None
    return _respond(service, queued, notes_for(images, network))


def _respond(service: Service, queued: Enqueued, notes: Sequence[str]) -> JSONResponse:
    with service.database.reading() as session:
        found = queries.get(session, queued.id)
    path = f"/v1/calibrations/{queued.id}"
    submitted = SubmittedCalibration(
        calibration_id=queued.id,
        state=found.state,
        created=queued.created,
        notes=list(notes),
        links={"self": path},
    )
    return answer(submitted, 202 if queued.created else 200, {"Location": path})
