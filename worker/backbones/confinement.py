"""Limits of the process that reads a file that nobody has checked yet.

It may use so much memory and time, and open nothing: no file, no socket. It starts no other process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress

MEMORY_BYTES = 2 * 1024**3  # of addresses, libraries included
CPU_S = 61
_OUTPUT_BYTES = 1_000_000  # its errors go to a file
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # CLONE_NEWUSER and CLONE_NEWNET of linux/sched.h


def confine() -> None:
    """Limit this process for the rest of its life. Import and warm up everything that it needs before."""
    _leave_network()
    _close_files()
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_FSIZE: _OUTPUT_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        # Descriptors that are open stay open: only standard streams are.
        resource.RLIMIT_NOFILE: 0,
    }
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(OSError, ValueError):  # macOS refuses some
            # At the soft limit of processor time SIGXCPU says why the process ends, SIGKILL would not.
            soft = lowered - 1 if limit == resource.RLIMIT_CPU else lowered
            resource.setrlimit(limit, (soft, lowered))


def _close_files() -> None:
    """Close every file of this process but the standard streams."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.closerange(3, min(soft, 65_536))


def _leave_network() -> None:
    """Leave the host's network and forbid new privileges, where the kernel lets an ordinary user do so."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.unshare(_NEW_USER | _NEW_NET)
