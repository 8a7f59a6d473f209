"""POST /v1/runs: submits images as a run, or returns the run of an earlier, identical request."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from producer import jobs
from producer.api.core.service import Service, Shared
from producer.api.keys import limits
from producer.api.keys.authentication import Submitter
from producer.api.keys.keys import Caller
from producer.api.live.links import links
from producer.api.load.memory import Take
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import SubmittedRun
from producer.api.routes.submissions import large_sets, options, uploads
from producer.api.routes.submissions.bodies import IdempotencyKey, own_key, parse_json, read_form, unsupported
from producer.api.routes.submissions.options import RunBodyOptions
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.images.pieces.allowance import DECODING_BYTES, Allowance
from producer.intake.source import LargeSource
from producer.networks import choose
from producer.runs import queries
from producer.webhooks.addresses import check_url
from schema.errors import IdempotencyConflict, ParameterError
from schema.parameters.batch_sizes import LARGEST_DEFAULT
from schema.states import RunState

router = APIRouter(route_class=PooledRoute, tags=["runs"])

_BATCH_COPIES = 4  # as its row, and as the database's driver sends it


def carries_images(method: str, path: str) -> bool:
    """Return whether a request with ``method`` to ``path`` sends images, so that its body may be large."""
    return method == "POST" and path in ("/v1/runs", "/v1/networks", "/v1/calibrations", "/submit")


@router.post(
    "/v1/runs",
    status_code=202,
    summary="Classify images",
    response_model=SubmittedRun,
    responses={
        200: {"model": SubmittedRun, "description": "The run exists already, by the same Idempotency-Key."}
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Request"}},
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/Form"}},
            },
        }
    },
)
async def submit_run(
    request: HttpRequest, service: Shared, caller: Submitter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Enqueue a run of images: files of a form, numbers in JSON, or a `uri` below an allowed folder."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        return await service.pools.writes.run(_from_json, service, caller, body, idempotency_key)
    if kind == "multipart/form-data":
        return await _from_form(request, service, caller, idempotency_key)
    raise unsupported(kind)


def _from_json(service: Service, caller: Caller, body: bytes, key: str | None) -> JSONResponse:
    limits.refuse_above(service.database, caller, key)
    with service.decoded.account() as take:
        sent = options.from_json(parse_json(body, take))
        allowed = _allowance(service, caller, sent, key, take)
        if sent.uri is None:
            images = uploads.read_numbers(sent)
            return _respond(service, enqueue(service, caller, images, sent, key, allowed))
        return _respond(service, _enqueue_uri(service, caller, sent.uri, sent, key, allowed))


def _allowance(
    service: Service, caller: Caller, body: RunBodyOptions, key: str | None, take: Take
) -> Allowance:
    """Return what the images of a request may need.

    More images than ``caller`` has left today are refused before they are decoded: as many as ``body`` takes
    of them, which is not known if it chooses classes.
    """

    def expect(count: int) -> None:
        wanted = 1 if body.classes is not None else min(count, body.request().limit or count)
        limits.refuse_above(service.database, caller, key, wanted)

    return uploads.allowance(service.api, take, expect)


async def _from_form(request: HttpRequest, service: Service, caller: Caller, key: str | None) -> JSONResponse:
    async with read_form(request) as parts:
        sent = parts.multi_items()
        return await service.pools.writes.run(
            lambda: _respond(service, enqueue_parts(service, caller, sent, key))
        )


def enqueue_parts(
    service: Service, caller: Caller, parts: list[tuple[str, UploadFile | str]], key: str | None
) -> Enqueued:
    """Enqueue a run from the fields and files of a form, as `enqueue` does with ``key``; raise as it does."""
    sent = options.from_form([(name, part) for name, part in parts if isinstance(part, str)])
    files = uploads.sent_files(parts, "images", "labels")
    if len(files["labels"]) > 1 or bool(files["images"]) == (sent.uri is not None):
        raise ParameterError(
            "a form has either a `uri` or one file or more called `images`, and at most one called `labels`"
        )
    limits.refuse_above(service.database, caller, key)
    with service.decoded.account() as take:
        allowed = _allowance(service, caller, sent, key, take)
        if sent.uri is not None:
            return _enqueue_uri(service, caller, sent.uri, sent, key, allowed)
        takes = choose.inputs(service.database, sent.request().network)
        labels, home = next(iter(files["labels"]), None), service.settings.home
        with large_sets.stored_set(files["images"], labels, home, service.api.uploads) as stored:
            source = None
            if stored is not None:
                source = large_sets.large_upload(stored, sent, allowed, takes)
            if stored is None or source is None:
                images = uploads.read_sent(files, None, sent, service.api, allowed, takes)
                return enqueue(service, caller, images, sent, key, allowed)
            run = enqueue(service, caller, source.head(), sent, key, allowed, source)
            stored.upload.stays = run.created
            return run


def _enqueue_uri(
    service: Service, caller: Caller, uri: str, body: RunBodyOptions, key: str | None, allowed: Allowance
) -> Enqueued:
    """Enqueue a run of the images at ``uri``; those of a large source are read on in the background."""
    takes = choose.inputs(service.database, body.request().network)
    source = large_sets.large_uri(uri, body, service.api, allowed, takes)
    if source is not None:
        return enqueue(service, caller, source.head(), body, key, allowed, source)
    images = uploads.read_uri(uri, body, service.api, allowed, takes)
    return enqueue(service, caller, images, body, key, allowed)


def _respond(service: Service, run: Enqueued) -> JSONResponse:
    with service.database.reading() as session:
        stored = queries.run(session, run.id)
    answer = {
        "run_id": run.id,
        "state": RunState.QUEUED if run.created else stored.state,
        "created": run.created,
        "notes": stored.notes,
        "links": links(run.id),
    }
    return JSONResponse(answer, 202 if run.created else 200, {"Location": links(run.id)["self"]})


def enqueue(
    service: Service,
    caller: Caller,
    images: ImageSet,
    body: RunBodyOptions,
    key: str | None,
    allowed: Allowance,
    source: LargeSource | None = None,
) -> Enqueued:
    """Commit a run of ``images`` with its webhook, and count it against the limits of ``caller``.

    Args:
        service: settings, database and notifier of the API.
        body: how to classify.
        key: idempotency key, as the caller chose it.
        allowed: what the images may need; reserves the memory of a batch, which is one row.
        source: has more than ``images``, its first; processes of the service read on.

    Raises:
        InputError: images, network, parameters or key cannot be used. RequestRefused: 429, a limit of the
            caller's is reached. Nothing was written then.
    """
    request, webhook = body.request(), _webhook(service, caller, body)
    images = request.select(images) if source is None else images
    count = len(images.images) if source is None else source.count
    if body.name is not None:
        images = replace(images, name=body.name)

    _reserve_batch(images, count, body, allowed, DECODING_BYTES if source is not None else 0)

    def also(session: Session, run: int) -> None:
        if caller.owner_id is None:
            return  # this machine has no limits
        now = service.database.now(session)
        limits.count_run(session, caller, run, count, request.solver, now=now)

    key_of_owner = None if key is None else own_key(caller, key)
    try:
        run, _ = jobs.submit(
            AppContext(service.settings, service.database),
            request,
            images,
            key_of_owner,
            choose_network=service.networks.choose,
            submission={
                "owner_id": caller.owner_id,
                "request": request.besides_content() | _named(body),
                **webhook,
            },
            also=also,
            notify=service.notifier.notify,
            source=source,
            background=source is not None,
        )
    except IdempotencyConflict as error:  # its key is shown as the caller chose it
        raise IdempotencyConflict(str(error).replace(repr(key_of_owner), repr(key)), error.fields) from None
    if source is not None:
        service.reader.wake()
    return run


def _reserve_batch(
    images: ImageSet, count: int, body: RunBodyOptions, allowed: Allowance, least: int
) -> None:
    """Reserve the memory of a batch of a run of ``count`` images like ``images``, ``least`` bytes or more."""
    images_of_batch = min(count, body.request().batch_size or LARGEST_DEFAULT)
    allowed.whole(max(_BATCH_COPIES * images_of_batch * images.images[0].nbytes, least))


def _named(body: RunBodyOptions) -> dict[str, Any]:
    """Return the fields that only HTTP has, as a repeated request must name them again."""
    named: dict[str, Any] = {} if body.name is None else {"name": body.name}
    if body.webhook is not None:
        secret = body.webhook.secret
        mark = None if secret is None else hashlib.sha256(secret.encode()).hexdigest()
        events = None if body.webhook.events is None else sorted(body.webhook.events)
        named["webhook"] = {"url": body.webhook.url, "secret_sha256": mark, "events": events}
    return named


def _webhook(service: Service, caller: Caller, body: RunBodyOptions) -> dict[str, Any]:
    """Return the webhook of a run, as its row has it.

    Raises:
        ParameterError: the address cannot be used, or there is no secret to sign with.
    """
    url = caller.webhook_url if body.webhook is None else body.webhook.url
    own = None if body.webhook is None else body.webhook.secret
    secret = own or caller.webhook_secret
    if body.webhook is not None:
        check_url(body.webhook.url, allow_private=service.api.webhook_private)
    if url is None:
        return {}
    if secret is None:
        raise ParameterError(
            "webhook: without an API key a secret is needed for signatures: give whsec_ and the base64 of 24 "
            "to 64 random bytes"
        )
    events = caller.webhook_events if body.webhook is None else body.webhook.events
    chosen = None if events is None else [str(kind) for kind in events]
    return {"webhook_url": url, "webhook_secret": secret, "webhook_events": chosen}
