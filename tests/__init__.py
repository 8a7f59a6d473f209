"""All tests of annealq.

What stands here counts before numpy and torch are imported, and before pytest makes its temporary folder.
"""

from __future__ import annotations

import os
from pathlib import Path

# Threads that wait for each other in a loop take the processor from the tests of other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Seconds that tests wait for what comes within one of them on an idle machine: only what hangs takes longer.
PATIENCE_S = 240

_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system, not a file
_NEEDED_BYTES = 4_000_000_000


def _is_usable(folder: Path) -> bool:
    """Return whether a file system in memory has room for the files of all tests, and runs programs."""
    if not os.access(folder, os.W_OK):
        return False
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize > _NEEDED_BYTES and not status.f_flag & os.ST_NOEXEC


# A disk takes milliseconds for each of the hundred thousand commits: tests need no data after a power cut.
if _is_usable(_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
