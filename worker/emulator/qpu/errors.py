"""How the emulator says no."""

from __future__ import annotations

from schema.errors import Refused


class Rejected(Refused):
    """A problem or a request that is not accepted: a status code of HTTP, and what was wrong.

    Nothing is charged for it and nothing of it is kept.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code
