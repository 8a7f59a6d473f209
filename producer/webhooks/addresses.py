"""Where webhooks may be: at public addresses, so that nobody can make this server ask its neighbours.

A name is resolved once, and the address that was checked is the one that is connected to: a name that means
something else a moment later leads nowhere.
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
    """Host and port of a webhook.

    Raises:
        ParameterError: no URL that could be asked: scheme, host, port, a password in it, a private address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ParameterError(f"webhook {url!r:.200} is no URL: https://HOST/PATH is expected") from None
    if parts.scheme not in _SCHEMES or not host or not url.isascii():
        raise ParameterError(f"webhook {url!r:.200}: https://HOST/PATH is expected")
    if parts.scheme == "http" and not allow_private:
        raise ParameterError(f"webhook {url!r:.200}: only https, unless ANNEALQ_API_WEBHOOK_PRIVATE is set")
    if parts.username is not None or parts.password is not None:
        raise ParameterError("webhook: no user or password in its URL; its messages are signed")
    literal = _literal(host)
    if literal is not None and not allow_private and not is_public(literal):
        raise ParameterError(f"webhook {url!r:.200}: {_private(host)}")
    return host, port or _SCHEMES[parts.scheme]


async def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """The address to connect to.

    Raises:
        ParameterError: one of the host's addresses is not public.
        OSError: it has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise ParameterError(_private(host))
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, also when it wraps one of another kind."""
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
    return f"{host} is not at a public address; the operator allows others by ANNEALQ_API_WEBHOOK_PRIVATE"
