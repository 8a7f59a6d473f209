"""Looks problems up in the solver's own list, by label or by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from os.path import commonprefix
from typing import Any

from dwave.cloud import Client
from dwave.cloud.api import Problems
from dwave.cloud.exceptions import SAPIError

from worker.sapi import charges, wire
from worker.sapi.errors import GONE, NOT_FOUND, mapping_errors

_PROBLEMS = "application/vnd.dwave.sapi.problems+json"
_PROBLEM = "application/vnd.dwave.sapi.problem+json"
_PAGE = 1000  # the most that the server lists at a time
_MANY = 16  # labels; for more, all problems are listed
_DIGITS = "0123456789abcdef"  # of labels, after their prefix


@dataclass(frozen=True)
class ListedProblem:
    """A problem as the solver lists it."""

    sapi_id: str
    status: str
    submitted_on: datetime | None
    label: str = ""
    solver: str = ""  # its name then


def find(client: Client, labels: Sequence[str]) -> dict[str, list[ListedProblem]]:
    """Return the problems with exactly each of ``labels``, by label, earliest first.

    One request lists them all, if the labels begin alike and the solver has not too many such problems.

    Raises:
        Unavailable: the solver does not answer.
    """
    found: dict[str, list[ListedProblem]] = {label: [] for label in labels}
    for problem in _search_each(client, list(found)):
        if problem.label in found:
            found[problem.label].append(problem)
    for problems in found.values():
        problems.sort(key=lambda each: (each.submitted_on is None, each.submitted_on, each.sapi_id))
    return found


def newest(client: Client) -> tuple[list[ListedProblem], bool]:
    """Return the newest problems of the account, and whether these are all.

    Raises:
        Unavailable: the solver does not answer.
    """
    listed = _search(client, "")
    return listed, len(listed) < _PAGE


def knows(client: Client, sapi_id: str) -> bool:
    """Return whether the solver still has the problem ``sapi_id``, which it has accepted.

    Raises:
        Unavailable: the solver does not answer.
    """
    with mapping_errors(), closing(client.create_session()) as session:
        session.set_accept(_PROBLEMS, accept_version="~=3.0", ask_version="3.0.0")
        try:
            return bool(Client._sapi_request(session.get, f"problems/?id={sapi_id}"))
        except SAPIError as error:
            if error.error_code in (NOT_FOUND, GONE):
                return False
            raise


def find_all(client: Client, prefix: str) -> Iterator[ListedProblem]:
    """Yield every problem whose label consists of ``prefix`` and hexadecimal digits.

    A full listing may lack some: then the problems with each next digit are listed separately.

    Raises:
        Unavailable: the solver does not answer.
    """
    problems = _search(client, prefix)
    if len(problems) < _PAGE:
        yield from (problem for problem in problems if problem.label.startswith(prefix))
        return
    yield from (problem for problem in problems if problem.label == prefix)
    for digit in _DIGITS:
        yield from find_all(client, prefix + digit)


def charge_us(client: Client, sapi_id: str, properties: Mapping[str, Any]) -> float | None:
    """Return what the finished problem ``sapi_id`` was charged by a solver with ``properties``.

    Returns:
        Microseconds; None if that is not known.

    Raises:
        Unavailable: the solver does not answer.
    """
    with mapping_errors(), closing(client.create_session()) as session:
        try:
            problem = fetch(session, sapi_id)
        except SAPIError as error:
            if error.error_code in (NOT_FOUND, GONE):
                return None
            raise
        stated = (problem.get("answer") or problem).get("timing")
        return charges.charge_us(wire.decode_timing(stated), properties)


def fetch(session: Any, sapi_id: str) -> Any:
    """Return status and answer of the problem ``sapi_id``, unchecked, over a ``session`` of a client.

    Raises:
        Exception: as the client raises.
    """
    # Not `Problems.get_problem_answer`: it refuses raw answers, because they lack a field.
    session.set_accept(_PROBLEM, accept_version="~=3.0", ask_version="3.0.0")
    return Client._sapi_request(session.get, f"problems/{sapi_id}/")


def require_service(client: Client) -> None:
    """Raise Unavailable unless ``client`` can list problems."""
    _list(client, max_results=1)


def _search_each(client: Client, labels: Sequence[str]) -> Iterator[ListedProblem]:
    """Yield at least the problems with ``labels``."""
    prefix = commonprefix(labels)  # noqa: RUF071 - labels are not paths
    if len(labels) > 1 and prefix:
        problems = _search(client, prefix)
        if len(problems) < _PAGE:
            yield from problems
            return
    if len(labels) > _MANY:
        yield from find_all(client, prefix)
        return
    for label in labels:
        yield from _search(client, label)


def _search(client: Client, text: str) -> list[ListedProblem]:
    """Return problems whose label contains ``text``: the server's filter is a substring match."""
    return _list(client, label=text, max_results=_PAGE)


def _list(client: Client, **filters: Any) -> list[ListedProblem]:
    with mapping_errors(), Problems.from_config(client.config) as problems:
        rows: Any = problems.list_problems(**filters)
    return [
        ListedProblem(
            sapi_id=str(row.id),
            status=str(getattr(row.status, "value", row.status)),
            submitted_on=row.submitted_on,
            label=row.label or "",
            solver=str(getattr(row.solver, "name", row.solver)),
        )
        for row in rows
    ]
