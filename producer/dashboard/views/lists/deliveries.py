"""Messages to webhooks, which can be sent again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.tables import Button, Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from schema.states import DeliveryState

_PAGE = 50
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
    """Returns the newest messages; those of some owners, and those before a number."""

    def __call__(
        self, session: Session, limit: int, *, before: int | None, owned_by: Collection[int] | None
    ) -> Sequence[DeliveryRow]: ...


class DeliveryPages:
    """Messages to webhooks: ``read`` returns them, ``redeliver`` sends one again for a visit."""

    def __init__(self, read: ReadDeliveries, redeliver: Callable[[Visit, int], None]) -> None:
        self._read, self._redeliver = read, redeliver

    def show(self, visit: Visit) -> Response:
        """Show the messages to webhooks of the owners that the visitor of ``visit`` sees."""
        before = visit.asked_number("before")
        with visit.database.reading() as session:
            found = self._read(session, _PAGE, before=before, owned_by=visit.visitor.only)
        listing = PageTable(
            title="",
            caption="newest first",
            columns=(
                *("message", "run", "event", "receiver", "state", "attempts", "status", "ms", "error"),
                *("next attempt", "created", ""),
            ),
            rows=[_row(each, may_act=visit.visitor.may_act) for each in found],
            empty="No message yet: a run that is submitted with a webhook sends one when it ends.",
        )
        older = f"/deliveries?before={found[-1].delivery_id}" if len(found) == _PAGE else None
        return visit.render_listings("Deliveries", [listing], older=older)

    def send_again(self, visit: Visit) -> Response:
        """Send the message of ``visit`` again."""
        visit.check_may_act()
        number = visit.number("delivery")
        self._redeliver(visit, number)
        return visit.go("/deliveries", f"message {number} is sent again")


def _row(delivery: DeliveryRow, *, may_act: bool) -> list[Cell]:
    run = None if delivery.run_id is None else Link(str(delivery.run_id), f"/runs/{delivery.run_id}")
    number = delivery.delivery_id
    done = delivery.state in (DeliveryState.DELIVERED, DeliveryState.FAILED)
    again = Button("Send again", f"/deliveries/{number}/redeliver", f"send message {number} again")
    return [
        str(number),
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
        again if may_act and done else None,
    ]
