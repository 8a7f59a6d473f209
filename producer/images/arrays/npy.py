"""Reads .npy without numpy.load: no pickle, and sizes are checked before memory is allocated.

Layout (numpy.lib.format, "Format Version 1.0"): magic, version, length of the header, the header (a Python
literal with the keys descr, fortran_order and shape), then the values.
"""

from __future__ import annotations

import ast
import re
import struct
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_NPY_HEADER
from producer.images.pieces.stored import Header, StoredArray
from producer.images.stream import open_stream, printable
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance
    from producer.images.stream import Stream

MAGIC = b"\x93NUMPY"
PICKLE_MAGIC = b"\x80"
TEXT = re.compile(r"[<>|=]?[US][0-9]+")
REAL_NUMBERS = re.compile(r"[<>|=]?[buif][0-9]{1,2}")
MAX_TEXTS = 2**21
"""Letters of an array of texts, the names of classes, each as long as the longest."""

HINT = "save it with numpy.save(path, array) where array is a plain array of numbers"


def open_npy(path: Path, allowance: Allowance | None = None) -> StoredArray:
    """Return the array in the file ``path``, with its own dtype and shape, within ``allowance``.

    Raises:
        ImageError: not .npy, pickled, or not of numbers.
    """
    announce = None if allowance is None else allowance.values
    return StoredArray(partial(open_stream, path), read_header, announce)


def read_header(stream: Stream) -> Header:
    """Return the header that ``stream`` begins with; raise ImageError as `open_npy` does."""
    return _header(_raw_header(stream), stream.name)


def read_texts(stream: Stream) -> list[str] | None:
    """Return the texts of the one-dimensional .npy in ``stream``; None if it holds something else.

    Raises:
        ImageError: a damaged header, truncated, or more than ``MAX_TEXTS`` letters.
    """
    descr, _, shape = _parsed(_raw_header(stream), stream.name)
    if TEXT.fullmatch(str(descr)) is None or len(shape) != 1:
        return None
    letters = int(str(descr).lstrip("<>|=US"))
    if shape[0] * letters > MAX_TEXTS:
        raise ImageError(f"{stream.name} has more than {MAX_TEXTS:,} letters of text: shorten it")
    try:
        dtype = np.dtype(str(descr))
        size = shape[0] * dtype.itemsize
        texts = np.frombuffer(stream.take(size), dtype).astype(str).tolist()
    except (TypeError, ValueError) as error:
        raise ImageError(f"{stream.name} is not text: {HINT}") from error
    return [str(text) for text in texts]


def _raw_header(stream: Stream) -> bytes:
    magic = stream.take(len(MAGIC))
    if magic != MAGIC:
        if magic.startswith(PICKLE_MAGIC):
            raise ImageError(f"{stream.name} is pickled, and pickles are never read: {HINT}")
        raise ImageError(f"{stream.name} is not a .npy file (wrong magic): {HINT}")
    major, _minor = stream.take(2)
    size_format = "<H" if major == 1 else "<I"
    (size,) = struct.unpack(size_format, stream.take(struct.calcsize(size_format)))
    if major not in (1, 2, 3) or size > MAX_NPY_HEADER:
        raise ImageError(
            f"{stream.name} has .npy version {major} and a header of {count_text(size, 'byte')}, "
            f"unsupported: {HINT}"
        )
    return stream.take(size)


def _header(raw: bytes, name: str) -> Header:
    descr, fortran_order, shape = _parsed(raw, name)
    return Header(_dtype(descr, name), shape, fortran_order and len(shape) > 1)


def _parsed(raw: bytes, name: str) -> tuple[object, bool, tuple[int, ...]]:
    """Return type, order and shape of a header; raise ImageError if it is damaged."""
    try:
        header = ast.literal_eval(raw.decode("utf-8").strip())
        descr, fortran_order, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ImageError(f"{name} has a damaged .npy header: {HINT}") from error
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise ImageError(f"{name} has a damaged .npy header (shape {printable(shape)[:80]}): {HINT}")
    return descr, bool(fortran_order), shape


def _dtype(descr: object, name: str) -> np.dtype[np.generic]:
    text = str(descr)
    if "O" in text:
        raise ImageError(f"{name} is pickled (an array of objects), and pickles are never read: {HINT}")
    if TEXT.fullmatch(text):
        raise ImageError(
            f"{name} holds text: number the classes with "
            "`names, labels = numpy.unique(labels, return_inverse=True)`, and save labels"
        )
    if not REAL_NUMBERS.fullmatch(text):
        raise ImageError(
            f"{name} has values of type {printable(text)[:80]}, which are not real numbers: {HINT}"
        )
    try:
        return np.dtype(text)
    except TypeError as error:
        raise ImageError(f"{name} has a damaged .npy header (type {text}): {HINT}") from error
