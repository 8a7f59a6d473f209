"""Trained weights as bytes in the safetensors format, which contains arrays and no code.

Arrays are named and laid out as in torch: ``features.0.weight`` is that of torch.nn.Conv2d (filters,
channels, kernel, kernel) or torch.nn.Linear (units, inputs); ``classes.weight`` is (classes, inputs). In
place of ``features``, those of the source NAME are called ``sources.NAME.0.weight`` and so on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from schema.errors import Corrupt, NetworkError
from schema.network.architecture import (
    FOLDED_LAM,
    FOLDED_LAM_WITHOUT,
    OPTIONAL,
    THRESHOLD,
    Architecture,
)
from schema.network.sources import Shape

Weights = Mapping[str, NDArray[np.float32]]

# Twice the size of float32, and room for names, so that a file of float64 gets a precise error message.
_BYTES_PER_WEIGHT = 8
_MOST_NAMES_BYTES = 1_000_000
_CONVERT = "convert it with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"


def encode(weights: Weights, architecture: Architecture) -> bytes:
    """Encode ``weights`` of ``architecture`` as safetensors; equal weights give equal bytes.

    Raises:
        NetworkError: they do not fit the architecture, or are not finite.
    """
    check(weights, architecture)
    return save({name: np.ascontiguousarray(weights[name], dtype="<f4") for name in sorted(weights)})


def read(path: Path, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
    """Read the safetensors file ``path`` with weights of ``architecture``.

    Raises:
        NetworkError: as :func:`decode`, or the file is missing or too large.
    """
    limit = _BYTES_PER_WEIGHT * architecture.weights + _MOST_NAMES_BYTES
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise NetworkError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        _refuse_pickle(data)
        if len(data) > limit:
            needed = 4 * architecture.weights
            raise NetworkError(f"over {limit:,} bytes; the weights of the architecture take {needed:,}")
        return decode(data, architecture)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def decode(data: bytes, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
    """Decode ``data``, safetensors with weights of ``architecture``; never unpickle.

    Raises:
        NetworkError: not safetensors; names, shapes or types do not fit the architecture; NaN or infinity.
    """
    _refuse_pickle(data)
    try:
        arrays: dict[str, NDArray[np.float32]] = load(data)
    except KeyError as error:  # bfloat16 and the like: torch has them, numpy does not
        raise NetworkError(
            f"the weights are {error.args[0]}, not float32: save them after .float()"
        ) from None
    except (SafetensorError, ValueError) as error:
        raise NetworkError(f"the weights are not a valid safetensors file: {error}") from None
    check(arrays, architecture)
    return arrays


def folded_lam(data: bytes) -> float | None:
    """Return the one-hot penalty for folded visible units that encoded weights ``data`` hold, if any.

    Raises:
        Corrupt: ``data``, which was checked before it was stored, is damaged.
    """
    try:
        with_lam = load(data).get(FOLDED_LAM)
    except (SafetensorError, ValueError) as error:
        raise Corrupt(f"the weights are damaged: {error}") from None
    return None if with_lam is None else float(with_lam[0])


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data``, encoded weights, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check(weights: Weights, architecture: Architecture) -> None:
    """Check names, shapes and types of ``weights`` against ``architecture``, and that all are finite.

    Raises:
        NetworkError: names the array, what it is and what it must be.
    """
    expected = architecture.shapes
    missing = sorted(set(expected) - set(weights))
    unknown = sorted(set(weights) - set(expected) - set(OPTIONAL))
    if missing or unknown:
        wrong = f"missing {_listed(missing)}, unknown {_listed(unknown)}"
        raise NetworkError(f"the weights do not fit {architecture.name!r}: {wrong}")
    for name, array in weights.items():
        _check_array(name, array, expected.get(name) or OPTIONAL[name])
    for name in (FOLDED_LAM, FOLDED_LAM_WITHOUT):
        if name in weights and weights[name][0] < 0:
            raise NetworkError(f"{name} must not be negative, it is {weights[name][0]}")
    threshold = weights.get(THRESHOLD)
    if threshold is not None and not 0 < threshold[0] < 1:
        raise NetworkError(f"{THRESHOLD} must be between 0 and 1, it is {threshold[0]}")


def _check_array(name: str, array: NDArray[np.float32], shape: Shape) -> None:
    if array.shape != shape:
        raise NetworkError(f"{name} has shape {array.shape}; the architecture needs {shape}")
    if array.dtype != np.float32:
        raise NetworkError(f"{name} is {array.dtype}, weights are float32: save it after .float()")
    if not np.isfinite(array).all():
        raise NetworkError(f"{name} has NaN or infinite values: train the network again")


def _refuse_pickle(data: bytes) -> None:
    # A pickle starts with its protocol mark; a torch checkpoint is a zip archive that contains a pickle.
    if _may_be_header(data):
        return
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise NetworkError(f"the weights are a pickle, which could run code and is never read; {_CONVERT}")
    if data[:4] == b"PK\x03\x04":
        raise NetworkError(
            f"the weights are a zip archive, as torch.save makes: a pickle, never read; {_CONVERT}"
        )


def _may_be_header(data: bytes) -> bool:
    # safetensors starts with the header's length, eight bytes, then the header's "{".
    return data[8:9] == b"{"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(_shown, names[:5])) + more if names else "nothing"


def _shown(name: str) -> str:
    # The name comes from the file: no control codes may reach the terminal.
    return name[:80] if name.isprintable() else repr(name[:80])
