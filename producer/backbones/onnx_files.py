"""Reads the file of a backbone. What could run code when it is loaded is refused unread."""

from __future__ import annotations

from pathlib import Path

from schema.errors import BackboneError
from schema.network.backbones import EXPORT, MAX_FILE_BYTES

_SUFFIX = ".onnx"
# A pickle, and the zip archives that .pt, .pth and .pt2 are: loading one may run what it holds.
_FOREIGN = {b"\x80": "a pickle", b"PK\x03\x04": "an archive of torch", b"\x89HDF": "a file of Keras"}


def read_onnx(path: Path) -> bytes:
    """Return the bytes of the ONNX file ``path``.

    Raises:
        BackboneError: it cannot be read, is too large, or is of another format.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BackboneError(f"{path}: cannot be read: {error.strerror}") from error
    for start, kind in _FOREIGN.items():
        if data.startswith(start):
            raise BackboneError(f"{path} is {kind}, which may run code when it is loaded: {EXPORT}")
    if path.suffix.lower() != _SUFFIX:
        raise BackboneError(f"{path}: a backbone is a {_SUFFIX} file: {EXPORT}")
    if len(data) > MAX_FILE_BYTES:
        raise BackboneError(
            f"{path} has over {MAX_FILE_BYTES:,} bytes, the most that are read: choose a smaller model"
        )
    return data
