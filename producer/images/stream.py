"""Opens a file, perhaps compressed by gzip, or a zip archive, and reads no more bytes than announced.

The errors of files, gzip and zip are turned into ImageError here and nowhere else.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from producer.images.limits import (
    CHUNK_BYTES,
    DEFLATE_RATIO,
    MAX_BYTES,
    MAX_DIMENSIONS,
    MAX_TEXT_BYTES,
    format_bytes,
)
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    import numpy as np

GZIP_MAGIC = b"\x1f\x8b"

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods of numpy.savez and numpy.savez_compressed."""


class Readable(Protocol):
    """The common methods of files, gzip files and members of zip archives."""

    def read(self, size: int = -1, /) -> bytes: ...

    def tell(self) -> int: ...

    def seek(self, offset: int, /) -> int: ...


@dataclass(frozen=True)
class Stream:
    """Bytes of unknown origin; ``name`` is for messages, ``most`` an upper bound of their number."""

    file: Readable
    name: str
    most: int

    def take(self, count: int) -> bytes:
        """Return exactly ``count`` bytes; raise ImageError if the stream ends before them."""
        data = self.file.read(count)
        if len(data) < count:
            raise ImageError(f"{self.name} is truncated or empty (it ends inside its header): fetch it again")
        return data

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes, or fewer where the stream ends."""
        data = self.file.read(count)
        while 0 < len(data) < count and (more := self.file.read(count - len(data))):
            data += more
        return data

    def text(self, announce: Callable[[str, int], None] | None = None) -> str:
        """Return the rest of the stream as UTF-8, without a byte order mark.

        ``announce`` is called with its name and the bytes so far, and may refuse more.

        Raises:
            ImageError: more than ``MAX_TEXT_BYTES`` when decompressed, or not UTF-8.
        """
        data = bytearray()
        while chunk := self.file.read(CHUNK_BYTES):
            data += chunk
            if announce is not None:
                announce(self.name, len(data))
            if len(data) > MAX_TEXT_BYTES:
                raise ImageError(
                    f"{self.name} is text of more than {format_bytes(MAX_TEXT_BYTES)}: "
                    "split it or save it as .npz"
                )
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ImageError(
                f"{self.name} is not UTF-8 text (byte {error.start:,}): save it as CSV in UTF-8"
            ) from error

    def check_claim(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
        """Check an array of this ``dtype`` and ``shape`` that the rest of the stream announces.

        Raises:
            ImageError: it has more than ``MAX_BYTES``, more than the file can hold, or too many dimensions.
        """
        if len(shape) > MAX_DIMENSIONS:
            raise ImageError(
                f"{self.name} has {len(shape):,} dimensions, more than {MAX_DIMENSIONS}: reshape it"
            )
        sizes = " x ".join(f"{size:,}" for size in shape)
        # Sizes of 0 count as 1, so that they do not hide the others: numpy would refuse their product.
        if math.prod(max(size, 1) for size in shape) * dtype.itemsize > MAX_BYTES:
            raise ImageError(
                f"{self.name} announces {sizes} values of {dtype.itemsize} bytes, "
                f"more than {format_bytes(MAX_BYTES)}: split it"
            )
        claimed = math.prod(shape) * dtype.itemsize
        left = self.most - self.file.tell()
        if claimed > left:
            raise ImageError(
                f"{self.name} is truncated (it announces {sizes} values, {count_text(claimed, 'byte')}, "
                f"and can hold {max(left, 0):,} at most): fetch it again"
            )


@contextmanager
def open_stream(path: Path) -> Iterator[Stream]:
    """Open ``path`` as a stream; decompress gzip, recognised by the name or the first bytes.

    Raises:
        ImageError: it cannot be opened or read, or its gzip data are damaged (also while in use).
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        packed = file.read(2) == GZIP_MAGIC or path.suffix.lower() == ".gz"
        file.seek(0)
        if not packed:
            yield Stream(file, printable(path), size)
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield Stream(unpacked, printable(path), size * DEFLATE_RATIO)


_OPENERS: dict[Path, Callable[[Path], BufferedReader]] = {}


def opened_by(folder: Path, open_file: Callable[[Path], BufferedReader] | None) -> None:
    """Let `open_regular` open the files of ``folder`` by ``open_file``; None: by their paths again."""
    if open_file is None:
        _OPENERS.pop(folder, None)
    else:
        _OPENERS[folder] = open_file


def is_stand_in(path: Path) -> bool:
    """Return whether ``path`` is of a folder whose files are opened in another way."""
    return _opener(path) is not None


def _opener(path: Path) -> Callable[[Path], BufferedReader] | None:
    return next((_OPENERS[each] for each in path.parents if each in _OPENERS), None)


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open the regular file ``path`` for reading, without decompressing it.

    Raises:
        ImageError: missing, not readable, a folder, a pipe or device, or an error while in use.
    """
    with translate_errors(path):
        if not is_regular(path.stat().st_mode):
            raise ImageError(f"{printable(path)} is not a regular file: save it to one first")
        open_file = _opener(path)
        with path.open("rb") if open_file is None else open_file(path) as file:
            yield file


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip archive ``path``; raise ImageError if it is not an intact one."""
    with open_regular(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (NotImplementedError, ValueError) as error:
            raise zipfile.BadZipFile(str(error)) from error
        with archive:
            yield archive


def is_regular(mode: int) -> bool:
    """Return whether ``mode`` is that of a regular file; raise IsADirectoryError for a folder's."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    return stat.S_ISREG(mode)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise ImageError about ``path`` instead of the errors of files, gzip and zip.

    These are OSError, EOFError, zlib.error, BadZipFile, and ValueError for a null byte in the path.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ImageError(f"{printable(path)} {_reason(error)}") from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise ImageError(f"{printable(path)} contains a null byte: give a valid file name") from error


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "does not exist: check its spelling and the current folder"
        case IsADirectoryError():
            return "is a folder: give a file"
        case PermissionError():
            return "is not readable: change its permissions or those of its folder"
        case gzip.BadGzipFile() | zlib.error():
            return f"contains damaged compressed data ({error}): fetch it again"
        case EOFError():
            return "is truncated (its compressed data end too early): fetch it again"
        case zipfile.BadZipFile():
            return f"is not an intact zip archive ({error}): fetch it again or save it with numpy.savez"
        case OSError(strerror=str(text)):
            return f"cannot be read ({text})"
    return f"cannot be read ({error})"


def refuse_exit(link: Path, root: Path) -> None:
    """Raise ImageError if ``link`` leads out of the folder ``root`` by symbolic links."""
    # A folder of somebody else must not make us read files that only we can read.
    with translate_errors(link):
        if not link.resolve().is_relative_to(root.resolve()):
            raise ImageError(
                f"{printable(link)} is a symbolic link out of {printable(root)}: copy its target"
            )


def printable(name: object) -> str:
    """Return ``str(name)`` with U+FFFD in place of each character that cannot be printed."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
