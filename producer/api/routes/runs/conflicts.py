"""What several routes of a run refuse: changes that its state does not allow, and budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from producer.api.keys.keys import Caller, Scope
from schema.errors import ParameterError, RequestRefused


@contextmanager
def conflicts(more: str = "") -> Iterator[None]:
    """Answer 409 if the state of the run does not allow the action; ``more`` says what the route takes."""
    try:
        yield
    except ParameterError as error:
        raise RequestRefused(str(error), 409, f"GET /v1/runs/RUN shows its state{more}") from None


def new_budget_us(caller: Caller, budget_s: float | None) -> int | None:
    """Return a budget of ``budget_s`` in microseconds; raise RequestRefused if ``caller`` may not set it."""
    if caller.scope is not Scope.ADMIN:
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}; only scope admin may change a budget",
            403,
            "leave budget_s out, or use a key of scope admin",
        )
    return None if budget_s is None else max(math.ceil(budget_s * 1e6), 1)
