"""The folders whose files batches may name, as the settings of this process say.

Rows are read in many places, which neither sessions nor rows can tell the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_allowed: tuple[Path, ...] = ()


def allow_folders(folders: Sequence[Path]) -> None:
    """Allow ``folders``, and no others, from now on in this process."""
    global _allowed  # noqa: PLW0603 - one value for a process, set when its settings are loaded
    _allowed = tuple(folders)


def allowed_folders() -> tuple[Path, ...]:
    """Return the folders that are allowed; none before settings are loaded."""
    return _allowed
