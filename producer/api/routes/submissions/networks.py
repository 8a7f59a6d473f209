"""POST /v1/networks: trains a network on labelled images, or imports one that was trained elsewhere.

A new version of a name is what runs of that name use from then on: so it takes a key of scope admin.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.datastructures import UploadFile

from producer import jobs
from producer.api.core.errors import InvalidFields
from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Admin
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.catalogue import AddedNetwork, ShownNetwork
from producer.api.routes.submissions import uploads
from producer.api.routes.submissions.bodies import read_form
from producer.api.routes.submissions.options import LongText, Text, request_fields
from producer.api.routes.submissions.uploads import SentFile
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.preprocessing import Fit, Preprocessing
from producer.networks import bundle, description, queries, starter, versions
from producer.networks.description import Description
from schema.database.rows import copy_row
from schema.errors import ParameterError, RequestRefused
from schema.network.architecture import PRESETS, preset
from schema.parameters import Origin

router = APIRouter(route_class=PooledRoute, tags=["networks"])

_MAX_EPOCHS = 100_000
_COPIES = 3  # of weights: as they are read, as arrays, and as they are stored
_ONLY_TRAINING = ("seed", "epochs", "limit", "resize", "invert", "uri", "part")


class NetworkFields(BaseModel):
    """A network. Without `weights` it is trained on `images`, or on those at a `uri`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Text | None = Field(None, description="Default: that of the architecture.")
    architecture: str | None = Field(
        None,
        min_length=1,
        max_length=100_000,
        description=f"A preset ({', '.join(PRESETS)}), or the JSON of layers or of an exported network. "
        "Default for training: layers for these images.",
    )
    classes: LongText | None = Field(None, description="For weights: names of the classes, with commas.")
    transfer: Literal["energy", "paper"] | None = Field(None, description="Default: energy.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same weights.")
    epochs: int | None = Field(None, ge=1, le=_MAX_EPOCHS, description="Default: the architecture's.")
    uri: LongText | None = Field(None, description="A file below the operator's folders, instead of images.")
    part: Text | None = Field(None, description="Split or array to use where the data has several.")

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image; raise ParameterError if `resize` is not a size."""
        given = self.model_dump(include={"read_as", "resize", "fit", "invert"})
        return Preprocessing.parse(
            given.get("resize"),
            given.get("fit", Fit.CROP),
            given.get("invert", False),
            skip_unreadable=False,
            read_as=given.get("read_as"),
        )


NetworkForm = create_model(
    "NetworkForm",
    __base__=NetworkFields,
    __doc__=NetworkFields.__doc__,
    **request_fields("limit", "read_as", "resize", "fit", "invert"),
)


def schemas() -> dict[str, Any]:
    """Return the JSON schema of the form by name, for /openapi.json."""
    schema = NetworkForm.model_json_schema(ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = schema.pop("$defs", {})
    file = {"type": "string", "format": "binary"}
    schema["properties"] |= {
        "images": {"type": "array", "items": file},
        "labels": file,
        "weights": {**file, "description": "A .safetensors file, its arrays named as in torch."},
    }
    return found | {"NetworkForm": schema}


@router.post(
    "/v1/networks",
    summary="Train or import a network",
    status_code=202,
    response_model=AddedNetwork,
    responses={
        200: {"model": AddedNetwork, "description": "The same network exists already."},
        201: {"model": AddedNetwork, "description": "The network is imported."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/NetworkForm"}}},
        }
    },
)
async def add_network(request: Request, service: Shared, _caller: Admin) -> JSONResponse:
    """Train a network on labelled images, as `annealq networks train`; or import `weights`, as `import`.

    The same content again is the existing network. A training is finished once `state` is `ready`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestRefused(
            f"the content type {kind!r:.100} is not supported",
            415,
            "send multipart/form-data with files called `images` and `labels`, or one called `weights`",
        )
    async with read_form(request) as parts:
        return await service.pools.writes.run(_add, service, parts.multi_items())


def _add(service: Service, parts: list[tuple[str, UploadFile | str]]) -> JSONResponse:
    try:
        asked: Any = NetworkForm.model_validate(dict(p for p in parts if isinstance(p[1], str)))
    except ValidationError as error:
        raise InvalidFields(error.errors(), "body") from None
    files = uploads.sent_files(parts, "images", "labels", "weights")
    weights = files["weights"]
    sources = len(weights) + bool(files["images"]) + (asked.uri is not None)
    if sources != 1 or len(files["labels"]) > 1 or (files["labels"] and not files["images"]):
        raise ParameterError(
            "a form has either one file called `weights`, or a `uri`, or one file or more called `images` "
            "with at most one called `labels`"
        )
    if weights:
        network, status = _import(service, asked, weights[0]), 201
    else:
        network, status = _train(service, asked, files), 202
    with service.database.reading() as session:
        found = queries.network(session, network.id)
        trained_on = queries.training_set(session, network.id)
    origin = None if trained_on is None else trained_on.origin
    notes = [] if origin is None else list(origin.notes)
    location = {"Location": f"/v1/networks/{found.pinned}"}
    added = copy_row(ShownNetwork.of(found), AddedNetwork, notes=notes)
    return answer(added, status if network.created else 200, location)


def _import(service: Service, asked: NetworkFields, weights: SentFile) -> Enqueued:
    foreign = [name for name in _ONLY_TRAINING if name in asked.model_fields_set]
    if foreign:
        raise ParameterError(f"{foreign[0]} belongs to a training: leave it out beside `weights`")
    found = _described(asked)
    if found is None:
        raise ParameterError(f"weights need an architecture: give {', '.join(PRESETS)} or the JSON of one")
    names = None if asked.classes is None else [name.strip() for name in asked.classes.split(",")]
    described = description.adapt(found, asked.name, names, asked.transfer)
    with service.decoded.account() as take, uploads.stored(weights, "weights.safetensors") as path:
        take(_COPIES * path.stat().st_size)
        return versions.install(service.database, bundle.join(described, path), Origin.IMPORTED)


def _train(service: Service, asked: Any, files: dict[str, list[SentFile]]) -> Enqueued:
    if asked.classes is not None:
        raise ParameterError("classes belongs to weights: a training takes them from images and architecture")
    found = _described(asked)
    with service.decoded.account() as take:
        allowed = uploads.allowance(service.api, take)
        known = None if found is None else found.architecture.input
        images = uploads.read_sent(files, asked.uri, asked, service.api, allowed, lambda _differ: known)
        if asked.limit is not None:
            images = images.limit(asked.limit)
        allowed.training_set(images.images.nbytes)
        if found is None:
            layers = starter.architecture_of(starter.starter_text(images, asked.name))
        else:
            layers = found.architecture if asked.name is None else found.architecture.replace(name=asked.name)
        app = AppContext(service.settings, service.database)
        transfer = asked.transfer or "energy"
        return jobs.submit_training(
            app, layers, images, transfer=transfer, seed=asked.seed, epochs=asked.epochs
        )


def _described(asked: NetworkFields) -> Description | None:
    """Return the network that the field `architecture` names or describes; raise NetworkError."""
    if asked.architecture is None:
        return None
    if not asked.architecture.lstrip().startswith("{"):
        return description.describe(preset(asked.architecture))
    try:
        values = json.loads(asked.architecture)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"architecture: it is not valid JSON: {error}") from None
    return description.parse(values)
