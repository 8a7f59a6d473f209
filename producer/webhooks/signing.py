"""Signatures of messages, as standardwebhooks.com has them, and the secrets that make them."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from datetime import datetime

from standardwebhooks.webhooks import Webhook

from schema.errors import ParameterError

PREFIX = "whsec_"
_LEAST, _MOST = 24, 64  # bytes


def check_secret(secret: str) -> str:
    """Return ``secret`` if a library for standard webhooks can verify with it; raise ParameterError."""
    key = _decode(secret)
    if key is None or not _LEAST <= len(key) <= _MOST:
        raise ParameterError(
            f"webhook secret: use {PREFIX} and the base64 of {_LEAST} to {_MOST} random bytes, as "
            f"`echo {PREFIX}$(openssl rand -base64 32)` makes it, or leave it out to sign with the secret of "
            "the key's owner"
        )
    return secret


def sign(secret: str, event_id: str, at: datetime, body: str) -> str:
    """Return the `webhook-signature` of ``body`` with ``event_id``, sent ``at`` that time, by ``secret``.

    Secrets that an earlier version accepted in another form still sign as they did then.
    """
    key = _decode(secret)
    return Webhook(secret.encode() if key is None else key).sign(event_id, at, body)


def _decode(secret: str) -> bytes | None:
    """Return the bytes of a ``secret`` in the standard form, or None if it has another one."""
    if secret.startswith(PREFIX):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True) or None
    return None
