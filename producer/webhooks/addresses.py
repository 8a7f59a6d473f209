"""Checks the addresses of webhooks: only public ones, so that nobody can reach the local network.

Names that cannot exist are refused at once, without asking anybody. A name is resolved once, and the
connection is made to an address that was checked: changing the name's address afterwards has no effect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import Executor
from functools import partial
from itertools import zip_longest
from urllib.parse import urlsplit

from schema.errors import ParameterError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SCHEMES = {"https": 443, "http": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?", re.IGNORECASE)
_NEVER = ("invalid", "example", "onion")  # RFC 2606 and RFC 7686: nobody resolves these
_PRIVATE_ONLY = ("localhost", "local", "internal", "test", "arpa")  # at most the local network does
_MAX_NAME = 253

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allow_private: bool) -> tuple[str, int]:
    """Return host and port of the webhook at ``url``.

    Raises:
        ParameterError: scheme, host or port are invalid, the URL contains a password, no host can have that
            name, or its address is private and ``allow_private`` is not set.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ParameterError(f"webhook {url!r:.200} is not a valid URL: use https://HOST/PATH") from None
    if parts.scheme not in _SCHEMES or not host or not url.isascii():
        raise ParameterError(f"webhook {url!r:.200} is not supported: use https://HOST/PATH")
    if parts.scheme == "http" and not allow_private:
        raise ParameterError(f"webhook {url!r:.200}: use https, or set ANNEALQ_API_WEBHOOK_PRIVATE")
    if parts.username is not None or parts.password is not None:
        raise ParameterError("webhook: remove user and password from its URL; messages are signed instead")
    literal = _literal(host)
    if literal is None:
        _check_name(url, host, allow_private=allow_private)
    elif not allow_private and not is_public(literal):
        raise ParameterError(f"webhook {url!r:.200}: {_private(host)}")
    return host, port or _SCHEMES[parts.scheme]


def origin_of(url: str) -> str:
    """Return scheme, host and port of ``url`` as it writes them, in lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


async def resolve(host: str, port: int, threads: Executor, *, allow_private: bool) -> list[str]:
    """Return the addresses of ``host`` to connect to for ``port``, of both families in turn.

    The resolver blocks one of ``threads``.

    Raises:
        ParameterError: one of the host's addresses is not public, and ``allow_private`` is not set.
        OSError: the host has no address.
    """
    loop = asyncio.get_running_loop()
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        entries = await loop.run_in_executor(threads, look_up)
    except socket.gaierror as error:
        raise OSError(f"the name {host!r:.100} has no address now ({error.strerror})") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not allow_private and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise ParameterError(_private(host))
    # One family may not work here at all; the order within each is the resolver's.
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    second = [address for address in addresses if address not in first]
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def is_public(address: Address) -> bool:
    """Return whether ``address``, or the IPv4 address that it contains, is on the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or address.teredo is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _check_name(url: str, host: str, *, allow_private: bool) -> None:
    """Raise ParameterError if no host can be called ``host``, or only one of the local network."""
    name = host.removesuffix(".")
    labels = name.split(".")
    top = labels[-1].lower()
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels) or top.isdigit():
        raise ParameterError(f"webhook {url!r:.200}: {host!r:.100} is not the name of a host: correct it")
    if top in _NEVER:
        raise ParameterError(f"webhook {url!r:.200}: no host can be called {host!r:.100}: correct the name")
    if not allow_private and (len(labels) == 1 or top in _PRIVATE_ONLY):
        raise ParameterError(f"webhook {url!r:.200}: {_private(host)}")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _private(host: str) -> str:
    return f"{host} has no public address; the operator can allow it with ANNEALQ_API_WEBHOOK_PRIVATE"
