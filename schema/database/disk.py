"""Whether the disk of a database in a file, or of a folder, is full."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import URL

_LEAST_BYTES = 1_000_000  # with less, a transaction of annealq fails


def is_full(folder: Path) -> bool:
    """Return whether the disk of ``folder`` has too little space for a transaction; False if unknown."""
    try:
        return shutil.disk_usage(folder).free < _LEAST_BYTES
    except OSError:
        return False


def is_full_for(url: URL) -> bool:
    """Return whether the disk of the database at ``url`` is full; False for one on a server."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    return is_full(Path(url.database).parent)
