"""Checks the addresses of webhooks: only public ones, so that nobody can reach the local network.

A name is resolved once, and the connection is made to the address that was checked: changing the name's
address afterwards has no effect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from schema.errors import ParameterError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SCHEMES = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allow_private: bool) -> tuple[str, int]:
    """Return host and port of the webhook at ``url``.

    Raises:
        ParameterError: scheme, host or port are invalid, the URL contains a password, or its address is
            private and ``allow_private`` is not set.
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
    if literal is not None and not allow_private and not is_public(literal):
        raise ParameterError(f"webhook {url!r:.200}: {_private(host)}")
    return host, port or _SCHEMES[parts.scheme]


async def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """Return the address of ``host`` to connect to for ``port``.

    Raises:
        ParameterError: one of the host's addresses is not public, and ``allow_private`` is not set.
        OSError: the host has no address.
    """
    loop = asyncio.get_running_loop()
    entries = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in entries]
    if not allow_private and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise ParameterError(_private(host))
    return addresses[0]


def is_public(address: Address) -> bool:
    """Return whether ``address``, or the IPv4 address that it contains, is on the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or address.teredo is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _private(host: str) -> str:
    return f"{host} has no public address; the operator can allow it with ANNEALQ_API_WEBHOOK_PRIVATE"
