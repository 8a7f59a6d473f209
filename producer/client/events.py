"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), as bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MAX_LINE = 10_000_000  # bytes; a server that never ends its line must not fill the memory


@dataclass(frozen=True)
class ServerEvent:
    """One event. ``id`` is that of the last event with one; None: no event has had one."""

    kind: str
    data: str
    id: str | None


class EventParser:
    """Collects lines until an event is complete.

    >>> parser = EventParser()
    >>> list(parser.feed(b"id: 7\\nevent: progress\\nda"))
    []
    >>> list(parser.feed(b"ta: {}\\n\\n: a heartbeat\\n\\n"))
    [ServerEvent(kind='progress', data='{}', id='7')]
    """

    def __init__(self) -> None:
        self._rest = b""
        self._kind, self._data = "", list[str]()
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that ``chunk`` completes; raise ValueError if a line is too long."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise ValueError(f"a line of the event stream has more than {_MAX_LINE:,} bytes")
        for line in lines:
            if text := line.decode(errors="replace").removesuffix("\r"):
                self._take(text)
                continue
            if self._data:
                yield ServerEvent(self._kind or "message", "\n".join(self._data), self._id)
            self._kind, self._data = "", []

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
