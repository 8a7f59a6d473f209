"""Run a command that dies with its owner: ``python -I -S die_with_parent.py OWNER_PID COMMAND ...``.

Linux only. The process asks the kernel for SIGKILL when the thread that forked it ends
(prctl(2), PR_SET_PDEATHSIG) and then becomes the command; the request survives execve(2). It is
a separate program because ``preexec_fn`` is not safe in a process that has threads. It uses the
standard library only and does not import annealq, so that it starts in about 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(owner: int, command: list[str]) -> int:
    """Become ``command``; return an exit code if that fails, or if ``owner`` is dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # it died before the request: nobody would ever send the signal
        return 1
    try:
        os.execvp(command[0], command)  # noqa: S606 - a command line of our own, without a shell
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
