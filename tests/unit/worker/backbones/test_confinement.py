"""A confined process opens nothing, starts nothing, and may use so much memory."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_TRIES = {
    "memory": "bytearray(3 * 1024**3)",
    "file": "open('/etc/passwd')",
    "written file": "open('/tmp/annealq-confined', 'w')",
    "socket": "socket.socket()",
    "process": "subprocess.run(['true'])",
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize("tried", _TRIES)
def test_a_confined_process_is_refused(tried: str) -> None:
    program = f"""
import socket, subprocess
from worker.backbones.confinement import confine
confine()
try:
    {_TRIES[tried]}
except (OSError, MemoryError) as error:
    print(type(error).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == ("MemoryError" if tried == "memory" else "OSError")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_an_endless_process_ends_by_a_signal_that_says_why() -> None:
    program = """
from worker.backbones import confinement
confinement.CPU_S = 2
confinement.confine()
while True:
    pass
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGXCPU
