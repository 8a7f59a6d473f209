"""Ed25519 signatures (RFC 8032) of the root of a bundle; keys are PEM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schema.errors import ParameterError
from worker.proof.container.archive import DamagedPart

NAME = "signature.json"
_MOST_BYTES = 100_000
_CONTEXT = b"annealq bundle 1\n"  # a signature of a root says nothing else
_MAKE = "openssl genpkey -algorithm ed25519 -out key.pem"


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read the private key in the PEM file ``path``.

    Raises:
        ParameterError: it cannot be read, has a password, or is another kind of key.
    """
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ParameterError(f"{path} is not a private key without a password: `{_MAKE}`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ParameterError(f"{path} is not an Ed25519 key: `{_MAKE}`")
    return key


def public_key(path: Path) -> bytes:
    """Read the 32 bytes of the public key in the PEM file ``path``.

    Raises:
        ParameterError: it cannot be read, or is another kind of key.
    """
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ParameterError(
            f"{path} is not a public key: `openssl pkey -in key.pem -pubout -out public.pem`"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ParameterError(f"{path} is not an Ed25519 key: `{_MAKE}`")
    return key.public_bytes_raw()


def sign(key: Ed25519PrivateKey, root: str) -> dict[str, Any]:
    """Return what `signature.json` says: the signature of ``root``, in hex, by ``key``."""
    return {
        "algorithm": "ed25519",
        "public_key": key.public_key().public_bytes_raw().hex(),
        "signature": key.sign(_CONTEXT + root.encode("ascii")).hex(),
    }


def check(signature: Any, root: str) -> str:
    """Return the public key, in hex, that has made ``signature``, as `sign` returns it, of ``root``.

    Raises:
        DamagedPart: it is not a signature of this root.
    """
    try:
        key, signed = bytes.fromhex(signature["public_key"]), bytes.fromhex(signature["signature"])
        if signature != {"algorithm": "ed25519", "public_key": key.hex(), "signature": signed.hex()}:
            raise ValueError("other fields")
        Ed25519PublicKey.from_public_bytes(key).verify(signed, _CONTEXT + root.encode("ascii"))
    except InvalidSignature:
        raise DamagedPart(NAME, "is not a signature of this root by the key that it names") from None
    except (ValueError, TypeError, KeyError):
        raise DamagedPart(NAME, "is not a signature as bundles have it") from None
    return key.hex()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
