"""An emulator as a process of its own, for tests of whoever talks to it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Emulator:
    """Where a running emulator listens."""

    endpoint: str
    ledger_url: str
    faults_url: str

    def ledger(self, label: str = "annealq:") -> dict[str, Any]:
        """What it has accepted and charged under labels of ours."""
        return self._call(f"{self.ledger_url}?label={label}")

    def break_(self, **fault: Any) -> None:
        """Have something go wrong: target, kind, count and so on."""
        self._call(self.faults_url, {"faults": [fault]})

    def change(self, **what: Any) -> dict[str, Any]:
        """clear=True, offline=[...], online=[...], regraph=[...]."""
        return self._call(self.faults_url, what)

    def _call(self, url: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def running_emulator(*options: str) -> Iterator[Emulator]:
    """Start one with these options on a free port; it is killed at the end."""
    command = [sys.executable, "-m", "worker.emulator", "--port", "0", "--token", TOKEN, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Emulator(ready["endpoint"], ready["ledger"], ready["faults"])
    finally:
        process.kill()
        process.communicate()
