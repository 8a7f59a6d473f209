"""Log lines of the API process, each with its request: text, or JSON with `ANNEALQ_LOG=json`."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from schema.database import acting

_QUIET = ("alembic", "httpcore", "httpx", "uvicorn")  # their remarks; warnings are shown
_LOG = logging.getLogger("annealq.api")


def configure() -> None:
    """Send all loggers to standard error, one line for each event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_json=os.environ.get("ANNEALQ_LOG", "").lower() == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def log(level: int, event: str, **values: Any) -> None:
    """Log ``event`` at ``level`` with these ``values``; a value of None is left out."""
    known = {name: value for name, value in values.items() if value is not None}
    _LOG.log(level, "%s", event, extra={"values": known})


class LineFormatter(logging.Formatter):
    """Formats a record as one line: time, level, event, values and the request's id."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        at, level = at.replace("+00:00", "Z"), record.levelname.lower()
        values: dict[str, Any] = dict(getattr(record, "values", {}))
        if (request_id := acting().request_id) is not None:
            values["request_id"] = request_id
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._as_json:
            error = {} if trace is None else {"exception": trace}
            return json.dumps(
                {"event": record.getMessage(), **values, "level": level, "timestamp": at, **error}
            )
        words = [
            f"{at} [{level}] {_clean(record.getMessage())}",
            *(f"{k}={_text(v)}" for k, v in values.items()),
        ]
        return "  ".join(words) + ("" if trace is None else f"\n{trace}")


def _text(value: Any) -> str:
    text = _clean(str(value))
    return json.dumps(text) if " " in text or '"' in text else text


def _clean(text: str) -> str:
    """Return ``text`` without characters that would begin another line or command a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)
