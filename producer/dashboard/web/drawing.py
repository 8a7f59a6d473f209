"""What a page wants to have made of a run that takes a while: drawn once, or sent as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from starlette.responses import Response

DrawingKey = tuple[int, str, str]
"""Run, kind and digest of the content of a drawing."""


@dataclass(frozen=True)
class Drawing:
    """What a page wants to have drawn of a run.

    Attributes:
        kind: of the drawing, unique for the run.
        content_sha256: of everything that decides it; see `digest`.
        draw: returns the body. It may take seconds, and raise any AnnealqError.
        headers: of the response.
    """

    run: int
    kind: str
    content_sha256: str
    media_type: str
    draw: Callable[[], bytes]
    headers: Mapping[str, str]

    @property
    def key(self) -> DrawingKey:
        return self.run, self.kind, self.content_sha256


def digest(*values: Any) -> str:
    """Return the SHA-256 of ``values`` and of this version of annealq."""
    text = json.dumps([_version(), *values], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _version() -> str:
    return version("annealq")  # reads and parses a file


@dataclass(frozen=True)
class LengthyAnswer:
    """A response that takes longer than a page may, so that it is not made by the threads of pages."""

    make: Callable[[], Response]
