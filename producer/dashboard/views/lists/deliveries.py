"""Messages to webhooks: listed, shown with their attempts, sent again, tested."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.tables import Button, Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from schema.errors import InputError
from schema.states import DeliveryState

_PAGE = 50
_DONE = (DeliveryState.DELIVERED, DeliveryState.FAILED)
_COLOURS = {DeliveryState.DELIVERED: "right", DeliveryState.FAILED: "wrong"}


class DeliveryRow(Protocol):
    """What is shown of a message; `producer.webhooks.listing.DeliverySummary` has it."""

    @property
    def delivery_id(self) -> int: ...
    @property
    def run_id(self) -> int | None: ...
    @property
    def event(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def state(self) -> DeliveryState: ...
    @property
    def attempts(self) -> int: ...
    @property
    def response_status(self) -> int | None: ...
    @property
    def latency_ms(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def due_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...


class ReadDeliveries(Protocol):
    """Returns the newest messages: of some owners, about a run, in a state, before a number."""

    def __call__(
        self,
        session: Session,
        limit: int,
        *,
        before: int | None,
        run: int | None,
        state: DeliveryState | None,
        owned_by: Collection[int] | None,
    ) -> Sequence[DeliveryRow]: ...


class TryRow(Protocol):
    """An attempt to send a message; `producer.webhooks.listing.PastAttempt` has it."""

    @property
    def at(self) -> datetime: ...
    @property
    def error(self) -> str | None: ...


class DeliveryActions(Protocol):
    """What is read and done for a visit; each function raises what the API's route of the same name does."""

    def find(self, visit: Visit, number: int) -> tuple[DeliveryRow, Sequence[TryRow], str]:
        """Return the message ``number``, its attempts, and its body as it is signed."""

    def redeliver(self, visit: Visit, number: int) -> None:
        """Send the message ``number`` again."""

    def send_test(self, visit: Visit, url: str | None) -> int:
        """Send a test message to ``url``, or to the webhook of the visitor's key; return its number."""


class DeliveryPages:
    """Messages to webhooks: ``read`` returns many, ``actions`` have what concerns one."""

    def __init__(self, read: ReadDeliveries, actions: DeliveryActions) -> None:
        self._read, self._actions = read, actions

    def show(self, visit: Visit) -> Response:
        """Show the messages to webhooks of the owners that the visitor of ``visit`` sees."""
        return self._listing(visit, None)

    def show_one(self, visit: Visit) -> Response:
        """Show the message of ``visit`` with its body, and the result of each attempt to send it."""
        number = visit.number("delivery")
        delivery, tries, body = self._actions.find(visit, number)
        attempts = PageTable(
            title="Attempts",
            caption="oldest first",
            columns=("at", "result"),
            rows=[[each.at, each.error or Mark("delivered", "right")] for each in tries],
            empty="It has not been sent yet.",
        )
        return visit.render(
            "delivery.html.j2",
            title=f"Message {number}",
            delivery=delivery,
            colour=_COLOURS.get(delivery.state, ""),
            done=delivery.state in _DONE,
            attempts=attempts,
            body=body,
        )

    def send_again(self, visit: Visit) -> Response:
        """Send the message of ``visit`` again."""
        visit.check_may_act()
        number = visit.number("delivery")
        self._actions.redeliver(visit, number)
        return visit.go("/deliveries", f"message {number} is sent again")

    def test(self, visit: Visit) -> Response:
        """Send a test message to the address in the form of ``visit``, then show it; or say why not."""
        visit.check_may_act()
        try:
            number = self._actions.send_test(visit, str(visit.form.get("url", "")).strip() or None)
        except InputError as error:
            return self._listing(visit, error)
        return visit.go(
            f"/deliveries/{number}", "a test message is sent; load this page again for the answer"
        )

    def _listing(self, visit: Visit, error: InputError | None) -> Response:
        before, run = visit.asked_number("before"), visit.asked_number("run")
        state = visit.asked("state")
        wanted = DeliveryState(state) if state in list(DeliveryState) else None
        with visit.database.reading() as session:
            found = self._read(
                session, _PAGE, before=before, run=run, state=wanted, owned_by=visit.visitor.only
            )
        chosen = {name: value for name, value in (("state", wanted), ("run", run)) if value is not None}
        listing = PageTable(
            title="",
            caption="newest first",
            columns=(
                *("message", "run", "event", "receiver", "state", "attempts", "status", "ms", "error"),
                *("next attempt", "created", ""),
            ),
            rows=[_row(each, may_act=visit.visitor.may_act) for each in found],
            empty="No message matches."
            if chosen
            else "No message yet: a run that is submitted with a webhook sends one when it ends.",
        )
        return visit.render(
            "deliveries.html.j2",
            200 if error is None else 422,
            title="Deliveries",
            listing=listing,
            older=None
            if len(found) < _PAGE
            else "/deliveries?" + urlencode(chosen | {"before": found[-1].delivery_id}),
            states=list(DeliveryState),
            wanted={"state": wanted, "run": "" if run is None else run},
            url=str(visit.form.get("url", "")),
            error=error,
        )


def _row(delivery: DeliveryRow, *, may_act: bool) -> list[Cell]:
    run = None if delivery.run_id is None else Link(str(delivery.run_id), f"/runs/{delivery.run_id}")
    number = delivery.delivery_id
    again = Button("Send again", f"/deliveries/{number}/redeliver", f"send message {number} again")
    return [
        Link(str(number), f"/deliveries/{number}"),
        run or "test",
        delivery.event,
        delivery.receiver,
        Mark(delivery.state, _COLOURS.get(delivery.state, "")),
        delivery.attempts,
        delivery.response_status,
        delivery.latency_ms,
        delivery.error,
        delivery.due_at,
        delivery.created_at,
        again if may_act and delivery.state in _DONE else None,
    ]
