"""Addresses of webhooks that are allowed."""

from __future__ import annotations

import ipaddress

import pytest

from producer.webhooks.addresses import check_url, is_public
from schema.errors import ParameterError

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),  # noqa: S104
    *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1"),
    *(
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "2001:0:1:2::3",
        "2001:db8::1",
    ),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_nobody_else_s_business(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://example.com/",
            "ftp://example.com/",
            "https://",
            "example.com",
            "https://[::1",
            "file:///x",
        ),
        *(
            "https://user:password@example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1:8/",
        ),
        *("https://example.com:99999/", "https://exämple.com/"),
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ParameterError, match="webhook"):
        check_url(url, allow_private=False)


def test_urls_that_are_taken() -> None:
    assert check_url("https://example.com/hook?a=b", allow_private=False) == ("example.com", 443)
    assert check_url("https://example.com:8443/", allow_private=False) == ("example.com", 8443)
    assert check_url("http://127.0.0.1:9/x", allow_private=True) == ("127.0.0.1", 9)
