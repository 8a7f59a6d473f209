"""The errors that a client raises, and how it reads the body of an error response."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


class ClientError(Exception):
    """Base of all errors that a client raises on purpose."""


class RequestRejected(ClientError):
    """The server refuses a request.

    Attributes:
        status: of the response, 400 to 599.
        code: the kind of problem for programs, as `not_found`; empty if the response has none.
        hint: what to do about it.
        errors: the fields that cannot be used, each with `field` and `detail`, if fields are the reason.
        retry_after_s: seconds after which the request may be tried again; None: the server does not say.
    """

    def __init__(
        self,
        message: str,
        status: int,
        hint: str,
        *,
        code: str = "",
        errors: tuple[Mapping[str, Any], ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.hint, self.code = status, hint, code
        self.errors, self.retry_after_s = errors, retry_after_s


class ServerUnavailable(ClientError):
    """The server did not answer for as long as the client is patient."""


class OutcomeUnknown(ClientError):
    """No answer came to a request that may have been carried out, and that it is not safe to repeat."""


class RunUnsuccessful(ClientError):
    """A run that was waited for failed or was cancelled.

    Attributes:
        run_id: its number.
        state: `failed` or `cancelled`.
    """

    def __init__(self, message: str, run_id: int, state: str) -> None:
        super().__init__(message)
        self.run_id, self.state = run_id, state


class WorkFailed(ClientError):
    """A training, a calibration or a dry run that was waited for failed; the message says why."""


class UnusableImages(ClientError, ValueError):
    """Images or labels cannot be sent: a file is missing, or the value is of no known kind."""


class MissingExtra(ClientError, ImportError):
    """A method needs a library that is not installed; the message says how to install it."""


def read_rejection(url: str, status: int, headers: Mapping[str, str], body: bytes) -> RequestRejected:
    """Return the error of a response: problem details (RFC 9457), or the body of a server of version 0.1.

    Args:
        url: that was requested, for the message about a body that annealq does not send.
        status: of the response.
        headers: of the response, by names of any case.
        body: of the response.

    >>> old = b'{"error": "not_found", "message": "no run 5", "way_out": "list the runs"}'
    >>> print(read_rejection("http://localhost/v1/runs/5", 404, {}, old))
    no run 5: list the runs
    """
    retry_after_s = _retry_after_s(headers)
    try:
        values = json.loads(body)
        message = str(values["detail"] if "detail" in values else values["message"])
        hint = str(values["hint"] if "hint" in values else values["way_out"])
        code = str(values["code"] if "code" in values else values["error"])
    except (ValueError, KeyError, TypeError):
        hint = "is it an annealq server?"
        message = f"{url} answers {status}: {hint}"
        return RequestRejected(message, status, hint, retry_after_s=retry_after_s)
    fields = values.get("errors")
    errors = tuple(field for field in fields if isinstance(field, dict)) if isinstance(fields, list) else ()
    return RequestRejected(
        f"{message}: {hint}", status, hint, code=code, errors=errors, retry_after_s=retry_after_s
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, which has a number or a date; None without a usable one."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value) if value[:1].isdecimal() else _until_s(value)
    except (ValueError, TypeError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until_s(date: str) -> float:
    when = parsedate_to_datetime(date)
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
