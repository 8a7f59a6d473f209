"""A server under attack, and a process that asks it meanwhile: it imports little, and starts at once."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path


@dataclass
class Target:
    """The server under attack."""

    host: str
    port: int
    token: str
    finished: int  # a run with stored reads
    live: int  # a run whose batches end, one by one
    database: Path
    answers: Counter[int] = field(default_factory=Counter)  # to the attackers, by status; 0: none

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        """Send a request as `exchange` does; return the status, 0: none."""
        return self.exchange(method, path, body, **headers)[0]

    def exchange(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Send a request with the token, unless another header says otherwise; return status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}", **headers})
            answer = connection.getresponse()
            status, text = answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            status, text = 0, ""
        finally:
            connection.close()
        self.answers[status] += 1
        return status, text

    def form(self, name: str, data: bytes) -> int:
        """Send a file as a run; return the status."""
        head = f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + b"\r\n--b--\r\n"
        return self.request("POST", "/v1/runs", body, **{"Content-Type": "multipart/form-data; boundary=b"})


def ask(target: Target, seconds: float, answers: Connection) -> None:
    """Ask both paths in turn for some ``seconds``, in a process of its own; send the milliseconds of each."""
    times: dict[str, list[float]] = {"/healthz": [], "/v1/runs": []}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path, found in times.items():
            start = time.perf_counter()
            status = target.request("GET", path)
            found.append(1_000 * (time.perf_counter() - start))
            assert status == 200, (path, status)
            time.sleep(0.01)
    answers.send(times)
