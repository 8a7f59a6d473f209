"""Messages to webhooks over HTTP: listed, shown, sent again, tested."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Reader, Submitter
from producer.api.keys.keys import Caller, Scope
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer, links_header, page_path
from producer.api.models.deliveries import DeliveryPage, ShownDelivery, TestMessage
from producer.webhooks import deliveries, listing
from producer.webhooks.addresses import check_url
from producer.webhooks.listing import DeliverySummary
from schema.errors import ParameterError, RequestRefused
from schema.states import DeliveryState

router = APIRouter(route_class=PooledRoute, tags=["webhooks"])

_PATH = "/v1/deliveries"
_MAX_PAGE = 500
DeliveryId = Annotated[int, Path(ge=1, lt=2**63, description="The message's number.")]
Limit = Annotated[int, Query(ge=1, le=_MAX_PAGE, description="How many.")]
Before = Annotated[int | None, Query(ge=1, lt=2**63, description="Only messages older than this one.")]


@router.get(_PATH, summary="List messages to webhooks", response_model=DeliveryPage)
def list_deliveries(
    service: Shared,
    caller: Reader,
    limit: Limit = 20,
    before: Before = None,
    state: DeliveryState | None = None,
) -> JSONResponse:
    """Return up to `limit` messages about runs that the `caller` sees, newest first.

    They are in the `state` and older than `before`, if given.
    """
    return _page(service, caller, _PATH, limit, before, state)


@router.get("/v1/runs/{run}/deliveries", summary="List messages about a run", response_model=DeliveryPage)
def list_run_deliveries(
    run: SeenRun,
    service: Shared,
    caller: Reader,
    limit: Limit = 20,
    before: Before = None,
    state: DeliveryState | None = None,
) -> JSONResponse:
    """Return up to `limit` messages to webhooks about the `run`, newest first."""
    return _page(service, caller, f"/v1/runs/{run}/deliveries", limit, before, state, run=run)


@router.get("/v1/deliveries/{delivery}", summary="Show a message to a webhook", response_model=ShownDelivery)
def show_delivery(delivery: DeliveryId, service: Shared, caller: Reader) -> JSONResponse:
    """Return the message with every attempt to send it, and its body as it is signed."""
    with service.database.reading() as session:
        found = listing.summary(session, delivery, caller.only)
        tries, body = listing.attempts(session, delivery), listing.body(session, delivery)
    return answer({**asdict(found), "tries": tries, "body": body})


@router.post(
    "/v1/deliveries/{delivery}/redeliver",
    summary="Send a message again",
    status_code=202,
    response_model=DeliverySummary,
)
def redeliver(delivery: DeliveryId, service: Shared, caller: Submitter) -> JSONResponse:
    """Send a message again that was delivered or has failed, with the same `webhook-id`."""
    with service.database.reading() as session:
        found = listing.summary(session, delivery, caller.only)
    if caller.scope is not Scope.ADMIN and found.owner != caller.name:
        raise RequestRefused(
            f"message {delivery} is not one of key {caller.name!r}",
            403,
            "use a key of its owner, or one of scope admin",
        )
    deliveries.redeliver(service.database, delivery)
    return _shown(service, delivery)


@router.post("/v1/webhooks/test", summary="Test a webhook", status_code=202, response_model=DeliverySummary)
def check_webhook(service: Shared, caller: Submitter, body: TestMessage | None = None) -> JSONResponse:
    """Send a message of type `webhook.test`, signed with the secret of the owner of the key.

    GET /v1/deliveries/ID shows the receiver's answer.
    """
    if caller.owner_id is None:
        raise ParameterError("a test message is signed with the secret of a key's owner: send a key")
    url = None if body is None else body.url
    if url is not None:
        check_url(url, allow_private=service.api.webhook_private)
    return _shown(service, deliveries.send_test(service.database, caller.name, url))


def _page(
    service: Service,
    caller: Caller,
    path: str,
    limit: int,
    before: int | None,
    state: DeliveryState | None,
    run: int | None = None,
) -> JSONResponse:
    # Who sees a run sees the messages about it; other messages are of owners.
    owned_by = caller.only if run is None else None
    with service.database.reading() as session:
        found = listing.summaries(session, limit + 1, before=before, run=run, state=state, owned_by=owned_by)
    following = None
    if len(found) > limit:
        found = found[:limit]
        query = {"limit": limit, "state": state, "before": found[-1].delivery_id}
        following = page_path(path, query)
    return answer({"deliveries": found, "next": following}, headers=links_header({"next": following}))


def _shown(service: Service, delivery: int) -> JSONResponse:
    with service.database.reading() as session:
        return answer(listing.summary(session, delivery), 202)
