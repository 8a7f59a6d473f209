"""Wrong keys: logged without the key, limited by address, and no valid key is ever locked out."""

from __future__ import annotations

import logging

import pytest

from producer.api.keys import failed_logins
from producer.api.keys.failed_logins import LIMIT, WINDOW_S, FailedLogins
from schema.errors import RequestRefused
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.conftest import Clock
from tests.serving import client

WRONG = "aq_0a1b2c3d_" + "s" * 43


def test_an_address_that_guesses_keys_waits_and_a_valid_key_does_not(
    attacked: Attacked, caplog: pytest.LogCaptureFixture
) -> None:
    guesses = [WRONG, "guess", WRONG[:-1], "aq_0a1b2c3d_\u00e9"] * (LIMIT // 2)
    with client(attacked.address, None) as http, caplog.at_level(logging.INFO, "annealq.api"):
        answers = [
            http.get("/v1/runs", headers={"Authorization": f"Bearer {key}".encode()}) for key in guesses
        ]
        login = http.post("/login", data={"key": WRONG}, headers={"Origin": attacked.address})
        with client(attacked.address, attacked.key) as owner:
            assert owner.get("/v1/runs").status_code == 200
        assert http.get("/v1/runs").status_code == 401  # no key at all is no guess
    assert [answer.status_code for answer in answers] == [401] * LIMIT + [429] * (len(guesses) - LIMIT)
    assert login.status_code == 429
    for answer in (*answers[LIMIT:], login):
        if answer is not login:
            assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW_S
            assert "a valid key" in answer.json()["hint"]
    failures = [record.getMessage() for record in caplog.records if "failed login" in record.getMessage()]
    assert len(failures) == LIMIT  # the log does not grow with the attack
    assert failures[0] == "failed login: key aq_0a1b2c3d_... from 127.0.0.1 is not valid"
    assert "sss" not in caplog.text
    assert "guess" not in caplog.text


def test_counts_are_bounded_by_address_and_forgotten(clock: Clock) -> None:
    logins = FailedLogins(lambda: clock().timestamp())

    def guess(address: str | None, times: int = 1) -> None:
        for _ in range(times):
            logins.count(WRONG, address)

    guess("10.0.0.1", LIMIT)
    guess("10.0.0.2")
    guess(None)
    with pytest.raises(RequestRefused, match=f"{LIMIT} wrong API keys"):
        guess("10.0.0.1")
    for host in range(LIMIT):
        guess(f"2001:db8:0:1::{host:x}")
    with pytest.raises(RequestRefused):  # one network is one sender
        guess("2001:db8:0:1:ffff::1")
    guess("2001:db8:0:2::1")
    clock.forward(WINDOW_S)
    guess("10.0.0.1")
    for number in range(11_000):
        guess(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(logins._counts) <= failed_logins._MAX_ADDRESSES
