"""What the pages do for a visitor, with the code of the API's routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from producer.api.core.errors import InvalidFields
from producer.api.keys import keys, owners
from producer.api.keys.keys import Caller, NewKey
from producer.api.keys.owners import OwnerSummary
from producer.api.models.owners import KeyBody, OwnerBody, add_owner
from producer.api.routes.runs.changes import RunChanges
from producer.api.routes.runs.conflicts import new_budget_us
from producer.dashboard.web.visit import Visit
from producer.runs import control, prune
from producer.webhooks import deliveries
from producer.webhooks import listing as deliveries_listing
from producer.webhooks.addresses import check_url
from producer.webhooks.listing import DeliverySummary, PastAttempt
from schema.database import Database
from schema.errors import NotFound, ParameterError, RequestRefused

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class OwnerPageActions:
    """What the pages of keys and of their owners do; webhooks may be private with ``allow_private``."""

    database: Database
    allow_private: bool

    def add(self, values: Mapping[str, Any]) -> NewKey:
        """Add an owner with the fields of POST /v1/keys; raise ParameterError."""
        body = _checked(KeyBody, values)
        try:
            return add_owner(self.database, body, allow_private=self.allow_private)
        except NotFound as error:
            raise ParameterError(str(error), "sees") from None

    def find(self, session: Session, name: str, now: datetime) -> OwnerSummary:
        """Return an owner as it is ``now``; raise NotFound."""
        return owners.find(session, name, now)

    def change(self, name: str, values: Mapping[str, Any]) -> None:
        """Change an owner by the fields of POST /v1/keys; raise ParameterError."""
        given = _checked(OwnerBody, values).given(allow_private=self.allow_private)
        if given:
            try:
                owners.change(self.database, name, given)
            except NotFound as error:
                raise ParameterError(str(error), "sees") from None

    def rotate(self, name: str, grace: timedelta, lifetime: timedelta | None) -> NewKey:
        """Add a key to an owner, and let its earlier ones expire after ``grace``; raise NotFound."""
        return keys.rotate(self.database, name, grace, lifetime)

    def expire(self, name: str, after: timedelta, prefix: str | None) -> int:
        """Let keys of an owner expire, and return how many; raise NotFound."""
        return keys.expire(self.database, name, after, prefix)

    def revoke(self, name: str, prefix: str | None) -> int:
        """Revoke keys of an owner, and return how many; raise NotFound."""
        return keys.revoke(self.database, name, prefix)

    def send_test(self, name: str, url: str | None) -> int:
        """Send a test message to ``url`` or to the webhook of an owner, and return its number."""
        return _send_test(self.database, self.allow_private, name, url)


@dataclass(frozen=True)
class DeliveryPageActions:
    """What the pages of messages to webhooks do; webhooks may be private with ``allow_private``."""

    database: Database
    allow_private: bool

    def find(self, visit: Visit, number: int) -> tuple[DeliverySummary, list[PastAttempt], str]:
        """Return a message that the visitor sees, its attempts and its body; raise NotFound."""
        with self.database.reading() as session:
            found = deliveries_listing.summary(session, number, visit.visitor.only)
            tries = deliveries_listing.attempts(session, number)
            return found, tries, deliveries_listing.body(session, number)

    def redeliver(self, visit: Visit, number: int) -> None:
        """Send a message again; raise RequestRefused if it belongs to another owner."""
        found, *_ = self.find(visit, number)
        if not visit.visitor.is_admin and found.owner != visit.visitor.name:
            message = f"message {number} is not one of key {visit.visitor.name!r}"
            raise RequestRefused(message, 403, "log in with a key of its owner, or one of scope admin")
        deliveries.redeliver(self.database, number)

    def send_test(self, visit: Visit, url: str | None) -> int:
        """Send a test message to ``url`` or to the webhook of the visitor, and return its number."""
        caller: Caller = visit.request.state.caller
        if caller.owner_id is None:
            raise ParameterError(
                "a test message is signed with the secret of a key's owner: log in with a key"
            )
        return _send_test(self.database, self.allow_private, caller.name, url)


def change_run(
    database: Database,
    caller: Caller,
    run: int,
    action: str,
    *,
    budget_s: float | None = None,
    at_once: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Perform ``action`` on ``run`` for ``caller``, who may change it.

    Args:
        budget_s: new budget in seconds of a run that is resumed.
        at_once: resume the run now, and not in its next window.
        changes: fields of PATCH /v1/runs/RUN.

    Raises:
        ParameterError: a value cannot be used, or the state of the run does not allow the action.
        RequestRefused: the caller may not change the budget.
    """
    if changes is not None:
        if changes:
            made = _checked(RunChanges, changes).made_by(caller)
            control.change_run(database, run, made)
    elif action == "pause":
        control.pause(database, run)
    elif action == "cancel":
        control.cancel(database, run)
    elif action == "delete":
        prune.delete_run(database, run)
    else:
        budget_us = None if budget_s is None else new_budget_us(caller, budget_s)
        control.resume(database, run, budget_us, at_once=at_once)


def _send_test(database: Database, allow_private: bool, owner: str, url: str | None) -> int:
    if url is not None:
        check_url(url, allow_private=allow_private)
    return deliveries.send_test(database, owner, url)


def _checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return ``values`` as the ``model`` of a request's body; raise InvalidFields."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidFields(error.errors(), "body") from None
