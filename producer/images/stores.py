"""Reads what an address of an object store names in place: s3://, gs:// or abfs://.

Its files stand in a temporary folder as empty ones of the same names, sizes and times. Whoever opens one by
`producer.images.stream.open_regular` reads ranges of the object, of which a few are in memory. So readers
need not know of stores, and nothing is copied.

Only commands and the schedules that they add do so: a server that read the addresses of its clients would let
them reach what it can reach.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from producer.files import temporary
from producer.images.columns.pyarrow_errors import load_pyarrow, translate_pyarrow
from producer.images.limits import MAX_MEMBERS
from producer.images.stream import opened_by, printable
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")

QUERIES = ("region", "scheme", "endpoint_override")
"""What an address may say after a question mark; credentials are taken from the environment."""

_ANONYMOUS = "anonymous"
_RANGE_BYTES = 4 * 2**20  # requested at a time
_RANGES = 4  # of one open file in memory: columns of a table are read by turns
_BUFFER_BYTES = 2**16


def is_stored(source: str) -> bool:
    """Return whether ``source`` is an address of an object store."""
    return urlsplit(source).scheme.lower() in SCHEMES


class StoredSource:
    """What an address names, as a path of this machine, until the object is deleted.

    Attributes:
        path: for the readers of `producer.images`, with the part of the address.
    """

    def __init__(self, address: str) -> None:
        """List the files at ``address``.

        Args:
            address: such as ``s3://bucket/photos:train``: a file or a folder, and perhaps a part of it after
                a colon.

        Raises:
            ImageError: the address holds credentials or is not known, nothing is there, or too many files;
                pyarrow is missing.
            DiskFull: no space is left for temporary files.
        """
        name = printable(address)
        store, root, part = _locate(address)
        # Without its options, after which no file or part can be named.
        self._shown = name.partition("?")[0].removesuffix(printable(part))
        with temporary() as parent:
            folder = Path(tempfile.mkdtemp(prefix="annealq-stored-", dir=os.path.realpath(parent)))
            weakref.finalize(self, _forget, folder)
            with translate_pyarrow(name):
                self._top = _stand_ins(store, root, folder, name)
        self.path = f"{self._top}{part}"
        opened_by(folder, partial(_open_object, store, PurePosixPath(root), self._top, name))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Raise ImageError with the address in place of the path."""
        try:
            yield
        except ImageError as error:
            error.args = (self.shown(str(error)), *error.args[1:])
            raise

    def shown(self, text: str) -> str:
        """Return ``text`` with the address in place of the path."""
        return text.replace(str(self._top), self._shown)


@contextmanager
def readable(source: str) -> Iterator[str]:
    """Yield ``source``, or the path of what an address of an object store names, for the length of the block.

    Raises:
        ImageError, DiskFull: as `StoredSource`.
    """
    if not is_stored(source):
        yield source
        return
    stored = StoredSource(source)
    with stored.named():
        yield stored.path


def open_store(address: str) -> tuple[Any, str]:
    """Return the file system of ``address``, of pyarrow, and the path in it."""
    from pyarrow import fs

    found: tuple[Any, str] = fs.FileSystem.from_uri(address)
    return found


def _locate(source: str) -> tuple[Any, str, str]:
    """Return the store, the path in it, and the part with its colon, which an existing path may end with."""
    name = printable(source)
    address = urlsplit(source)
    user, _, bucket = address.netloc.rpartition("@")
    is_container = address.scheme.lower().startswith("abfs")  # of Azure, whose addresses name it there
    if ":" in user or ":" in bucket or not (is_container or user in ("", _ANONYMOUS)):
        raise ImageError(
            "the address holds credentials, which would be stored and shown: leave them out, and set the "
            "variables of the store, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    unknown = [key for key, _ in parse_qsl(address.query, keep_blank_values=True) if key not in QUERIES]
    if unknown or address.fragment:
        raise ImageError(
            f"{name.partition('?')[0]} has options that are not known: {', '.join(QUERIES)} may be given"
        )
    load_pyarrow(name)
    with translate_pyarrow(name):
        store, path = open_store(source)
        if _exists(store, path):
            return store, path, ""
        head, colon, part = address.path.rpartition(":")
        store, path = open_store(address._replace(path=head).geturl())
        if not colon or not _exists(store, path):
            raise ImageError(f"{name} does not exist: check its spelling and the region")
        return store, path, f":{part}"


def _exists(store: Any, path: str) -> bool:
    from pyarrow import fs

    return bool(store.get_file_info(path).type != fs.FileType.NotFound)


def _forget(folder: Path) -> None:
    opened_by(folder, None)
    shutil.rmtree(folder, ignore_errors=True)


def _stand_ins(store: Any, path: str, folder: Path, name: str) -> Path:
    """Return the empty file in ``folder`` that stands for ``path``, or the folder of them.

    Raises:
        ImageError: no files, too many, or a name that leads out of the folder.
    """
    from pyarrow import fs

    info = store.get_file_info(path)
    top = folder / _plain(PurePosixPath(path).name, name)
    if info.type == fs.FileType.File:
        _stand_in(info, top)
        return top
    found = store.get_file_info(fs.FileSelector(path, recursive=True))
    files = [each for each in found if each.type == fs.FileType.File]
    if not files:
        raise ImageError(f"{name} is a folder without files: check its spelling")
    if len(files) > MAX_MEMBERS:
        raise ImageError(
            f"{name} has {count_text(len(files), 'file')}, more than {MAX_MEMBERS:,}: name a part of it, or "
            "pack them into archives or Parquet files"
        )
    for each in files:
        parts = PurePosixPath(each.path).relative_to(path).parts
        inner = top.joinpath(*(_plain(part, name) for part in parts))
        inner.parent.mkdir(parents=True, exist_ok=True)
        _stand_in(each, inner)
    return top


def _stand_in(info: Any, path: Path) -> None:
    """Make a file at ``path`` of the size and time of an object, without its bytes."""
    with path.open("xb") as file:
        file.truncate(max(info.size or 0, 0))
    time_ns = info.mtime_ns or 0
    os.utime(path, ns=(time_ns, time_ns))


def _plain(part: str, name: str) -> str:
    if not part.strip(".") or set(part) & {"/", "\\", "\0"}:
        raise ImageError(f"{name} has a file of a name that leads elsewhere: name a part of it")
    return part


def _open_object(store: Any, root: PurePosixPath, top: Path, name: str, path: Path) -> io.BufferedReader:
    """Open the object that the file ``path``, ``top`` or one below it, stands for."""
    with translate_pyarrow(name):
        stored = store.open_input_file(str(root / path.relative_to(top).as_posix()))
    return io.BufferedReader(_Ranges(stored, path), _BUFFER_BYTES)


class _Ranges(io.RawIOBase):
    """An object of a store as a file that is read from any byte on, in ranges."""

    def __init__(self, stored: Any, stand_in: Path) -> None:
        """Read ``stored``, an open file of pyarrow, which the file ``stand_in`` stands for."""
        self._stored, self._size, self._at = stored, stored.size(), 0
        self._range = lru_cache(_RANGES)(self._request)
        self._descriptor = os.open(stand_in, os.O_RDONLY)
        expected = os.fstat(self._descriptor).st_size
        if self._size != expected:
            self.close()
            raise OSError(0, "it has changed: try again")

    def close(self) -> None:
        if not self.closed:
            self._range.cache_clear()
            self._stored.close()
            os.close(self._descriptor)
        super().close()

    def fileno(self) -> int:
        """Return the descriptor of the empty file, whose size is the object's."""
        return self._descriptor

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        number, inside = divmod(self._at, _RANGE_BYTES)
        found = self._range(number)[inside : inside + len(buffer)] if self._at < self._size else b""
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _request(self, number: int) -> bytes:
        start = number * _RANGE_BYTES
        wanted = min(_RANGE_BYTES, self._size - start)
        data: bytes = self._stored.read_at(wanted, start)
        if len(data) < wanted:
            raise OSError(0, "it has changed: try again")
        return data
