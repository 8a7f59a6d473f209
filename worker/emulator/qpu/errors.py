"""The error by which the emulator refuses a problem or a request."""

from __future__ import annotations

from schema.errors import Refused


class Rejected(Refused):
    """A refused problem or request, with an HTTP status code and the reason.

    Nothing is charged for it and nothing is stored.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code
