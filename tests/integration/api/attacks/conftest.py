"""One API for all attacks of a file, with tight limits, and bytes that go to it as they are."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from schema.database import Database
from schema.settings import load_api
from tests import PATIENCE_S
from tests.serving import serving

MAX_BODY = 100_000


@dataclass(frozen=True)
class Attacked:
    """The API's address, its database, and a key of scope admin."""

    address: str
    database: Database
    key: str

    def connect(self) -> socket.socket:
        parts = urlsplit(self.address)
        return socket.create_connection((parts.hostname, parts.port), PATIENCE_S)

    def exchange(self, *pieces: bytes) -> bytes:
        """Send ``pieces``, and return all that is answered until the server closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def head(method: str, path: str, *headers: str, key: str | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture(scope="module")
def attacked(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    path = tmp_path_factory.mktemp("attacked") / "annealq.db"
    shutil.copy(_sqlite_template, path)
    url = f"sqlite:///{path}"
    database = Database(url)
    key = keys.add(database, "admin", Scope.ADMIN).key
    with serving(url, load_api(max_body_mb=MAX_BODY / 1e6)) as address:
        yield Attacked(address, database, key)
    database.dispose()
