"""Settings that are completed or refused when they are read."""

from __future__ import annotations

import pytest

from schema.settings import load


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("", ""),
        ("http://emulator:8477", "http://emulator:8477/sapi/v2/"),
        ("http://emulator:8477/", "http://emulator:8477/sapi/v2/"),
        ("http://emulator:8477/sapi/v2/", "http://emulator:8477/sapi/v2/"),
        ("https://proxy/quantum/sapi/v2", "https://proxy/quantum/sapi/v2"),
    ],
)
def test_the_address_of_an_emulator_is_enough(
    given: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", given)
    assert load().emulator_url == endpoint
