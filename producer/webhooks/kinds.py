"""What messages tell: the names by which users choose them, and the types that receivers see."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, Text, cast, or_

from schema.errors import ParameterError
from schema.tables.api import RunSubmission


class Kind(StrEnum):
    """The kinds of messages about runs."""

    ENDED = "ended"  # it is done, has failed or was cancelled
    WAITING = "waiting"  # its solver has failed for 30 seconds
    RESUMED = "resumed"  # its solver answers again
    ROUND = "round"  # another round of reads has begun
    ALARM = "alarm"  # the newest problems of its chip differ from the chip's past
    PAUSED = "paused"  # by a user, or by the solver's budget of the day or month; not by its window
    BUDGET = "budget"  # its own budget is spent, so that it is paused
    PROGRESS = "progress"  # a quarter, half or three quarters of its batches are scored; only on request


BY_DEFAULT = tuple(kind for kind in Kind if kind is not Kind.PROGRESS)
PROGRESS = ("progress_25", "progress_50", "progress_75")  # `event` of these deliveries, in ascending order
TEST = "test"  # `event` of a test of an owner's webhook
_TYPES = {Kind.BUDGET: "budget_spent"}


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of these ``names``, each once; raise ParameterError for an unknown one."""
    if unknown := [name for name in names if name not in set(Kind)]:
        raise ParameterError(f"unknown webhook event {unknown[0]!r:.100}; choose from: {', '.join(Kind)}")
    return tuple(dict.fromkeys(names))


def message_type(event: str, state: str) -> str:
    """Return the `type` of a message about a run in ``state``."""
    if event in PROGRESS:
        return "run.progress"
    if event == Kind.ENDED:
        return f"run.{state}"
    return f"run.{_TYPES.get(Kind(event), event)}"


def wants(kind: Kind) -> ColumnElement[bool]:
    """Return the condition that the webhook of a submission is to receive messages of ``kind``."""
    chosen = cast(RunSubmission.webhook_events, Text).contains(f'"{kind}"')
    by_default = [RunSubmission.webhook_events.is_(None)] if kind in BY_DEFAULT else []
    return RunSubmission.webhook_url.is_not(None) & or_(chosen, *by_default)
