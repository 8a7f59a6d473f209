"""An emulator in a process of its own, for tests."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import requests

ROOT = Path(__file__).parent.parent
TOKEN = "test-token"
SOLVER = "tiny"


class Emulator:
    """A running emulator, as a context manager. Without a --solver it serves a P4 with 3 dead qubits."""

    def __init__(
        self, *options: str, samples: str = "annealed", clock: str = "off", within: Sequence[str] = ()
    ) -> None:
        """within: what its command is preceded by, to run elsewhere."""
        self._within = list(within)
        if not any(option.startswith(("--solver", "--twin")) for option in options):
            options = (*options, f"--solver={SOLVER}=pegasus:4:3:5")
        self._options = (f"--samples={samples}", f"--clock={clock}", *options)
        self.session = requests.Session()
        self.session.headers["X-Auth-Token"] = TOKEN

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.kill()

    def start(self) -> None:
        """Start a process, on a free port; what it writes to standard error goes to this process's."""
        self.process = subprocess.Popen(
            [*self._within, sys.executable, "-m", "worker.emulator", "--port=0", *self._options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the emulator did not start"
        self.ready: dict[str, Any] = json.loads(line)
        self.endpoint: str = self.ready["endpoint"]

    def kill(self) -> None:
        """kill -9; does nothing when it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code. It fails after 20 s, less than the longest poll takes."""
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode

    @property
    def config(self) -> dict[str, Any]:
        """For D-Wave's client: nothing is cached, and the user's own configuration is not read."""
        return {"endpoint": self.endpoint, "token": TOKEN, "cache_enabled": False, "config_file": False}

    def ledger(self) -> dict[str, Any]:
        content: dict[str, Any] = self.session.get(self.ready["ledger"]).json()
        return content

    def break_down(self, *faults: dict[str, Any], **actions: Any) -> dict[str, Any]:
        """Add faults, or take solvers off line and so on."""
        answer = self.session.post(self.ready["faults"], json={"faults": list(faults), **actions})
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.endpoint + path, **options)

    def post(self, problems: Any, **options: Any) -> requests.Response:
        return self.session.post(self.endpoint + "problems/", data=json.dumps(problems), **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.session.delete(self.endpoint + path, **options)

    def properties(self, solver: str = SOLVER) -> dict[str, Any]:
        content: dict[str, Any] = self.get(f"solvers/remote/{solver}").json()
        return content

    def job(self, **changes: Any) -> dict[str, Any]:
        """A problem of one pair of coupled qubits of the first solver, with J = -1, that reads once."""
        definition = self.properties(self.ready["solvers"][0])
        qubits, pair = definition["properties"]["qubits"], definition["properties"]["couplers"][0]
        linear = np.where(np.isin(qubits, pair), 0.0, np.nan)
        problem = {
            "solver": definition["identity"],
            "type": "ising",
            "data": {"format": "qp", "lin": base64_of(linear), "quad": base64_of([-1.0]), "offset": 0},
            "params": {"num_reads": 1},
        }
        return problem | changes


def base64_of(values: Any) -> str:
    """Doubles as SAPI has them."""
    return base64.b64encode(np.asarray(values, "<f8").tobytes()).decode()


def wait_until(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    """The condition's first true value; an AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value
