"""What a solver's service says of the problems that it was given, by label and by id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dwave.cloud import Client
from dwave.cloud.api import Problems
from dwave.cloud.exceptions import SAPIError

from worker.sapi.errors import GONE, mapping_errors

_PROBLEM = "application/vnd.dwave.sapi.problem+json"
_LISTED = 1000  # the most that a listing returns
_NEXT = "0123456789abcdef"  # how labels go on after their prefix


@dataclass(frozen=True)
class ListedProblem:
    """A problem that the solver has under a label."""

    sapi_id: str
    status: str
    submitted_on: datetime | None
    label: str = ""


def find(client: Client, label: str) -> list[ListedProblem]:
    """The problems under exactly this label, earliest first.

    Raises:
        Unavailable: the solver does not answer.
    """
    return sorted(
        (one for one in _search(client, label) if one.label == label),
        key=lambda one: (one.submitted_on is None, one.submitted_on, one.sapi_id),
    )


def find_all(client: Client, prefix: str) -> Iterator[ListedProblem]:
    """Every problem whose label begins so and goes on in hexadecimal digits.

    A listing that is full may lack some: then each next digit is asked for by itself.

    Raises:
        Unavailable: the solver does not answer.
    """
    found = _search(client, prefix)
    if len(found) < _LISTED:
        yield from (one for one in found if one.label.startswith(prefix))
        return
    yield from (one for one in found if one.label == prefix)
    for digit in _NEXT:
        yield from find_all(client, prefix + digit)


def charge_us(client: Client, sapi_id: str) -> int | None:
    """What a completed problem was charged, by its answer; None when that is not kept any more.

    Raises:
        Unavailable: the solver does not answer.
    """
    # Not `Problems.get_problem_answer`: it refuses raw answers, for they lack a field.
    with mapping_errors(), closing(client.create_session()) as session:
        session.set_accept(_PROBLEM, accept_version="~=3.0", ask_version="3.0.0")
        try:
            answer = Client._sapi_request(session.get, f"problems/{sapi_id}/")["answer"]
        except SAPIError as error:
            if error.error_code in (404, GONE):
                return None
            raise
        return round(float(answer["timing"]["qpu_access_time"]))


def _search(client: Client, text: str) -> list[ListedProblem]:
    """Problems whose label holds this text: the server's filter is a substring match."""
    with mapping_errors(), Problems.from_config(client.config) as problems:
        found: Any = problems.list_problems(label=text, max_results=_LISTED)
    return [
        ListedProblem(
            str(one.id), str(getattr(one.status, "value", one.status)), one.submitted_on, one.label or ""
        )
        for one in found
    ]
