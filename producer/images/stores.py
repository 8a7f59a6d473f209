"""Copies what an address of an object store names to this machine while it is read: s3://, gs:// or abfs://.

Only commands do so: a server that read the addresses of its clients would let them reach what it can reach.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from producer.files import temporary
from producer.images.columns.pyarrow_errors import load_pyarrow, translate_pyarrow
from producer.images.limits import CHUNK_BYTES, MAX_MEMBERS, MAX_UNPACKED_BYTES, format_bytes
from producer.images.stream import printable
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")

QUERIES = ("region", "scheme", "endpoint_override")
"""What an address may say after a question mark; credentials are taken from the environment."""

_ANONYMOUS = "anonymous"


def is_stored(source: str) -> bool:
    """Return whether ``source`` is an address of an object store."""
    return urlsplit(source).scheme.lower() in SCHEMES


@contextmanager
def fetched(source: str) -> Iterator[str]:
    """Yield ``source``, or the path of a copy of what an address of an object store names, for the block.

    Args:
        source: as for `producer.images.source.read_images`, or an address such as ``s3://bucket/photos:train``:
            a file or a folder, and perhaps a part of it after a colon.

    Raises:
        ImageError: the address holds credentials or is not known, nothing is there, or too much; pyarrow is
            missing.
        DiskFull: no space is left for temporary files.
    """
    if not is_stored(source):
        yield source
        return
    store, path, part = _locate(source)
    with temporary(), tempfile.TemporaryDirectory(prefix="annealq-fetched-") as folder:
        name = printable(source)
        with translate_pyarrow(name):
            copy = _copy(store, path, Path(folder), name)
        try:
            yield str(copy) + part
        except ImageError as error:
            raise ImageError(str(error).replace(str(copy), name.removesuffix(printable(part)))) from error


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


def _copy(store: Any, path: str, folder: Path, name: str) -> Path:
    """Return the copy of ``path`` in ``folder``.

    Raises:
        ImageError: no files, too many or too large ones, or a name that leads out of the folder.
    """
    from pyarrow import fs

    info = store.get_file_info(path)
    target = folder / _plain(PurePosixPath(path).name, name)
    if info.type == fs.FileType.File:
        _check_size([info], name)
        _copy_file(store, info, target)
        return target
    found = store.get_file_info(fs.FileSelector(path, recursive=True))
    files = [each for each in found if each.type == fs.FileType.File]
    _check_size(files, name)
    for each in files:
        parts = PurePosixPath(each.path).relative_to(path).parts
        inner = target.joinpath(*(_plain(part, name) for part in parts))
        inner.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(store, each, inner)
    return target


def _check_size(files: list[Any], name: str) -> None:
    size = sum(max(each.size or 0, 0) for each in files)
    if not files:
        raise ImageError(f"{name} is a folder without files: check its spelling")
    if len(files) > MAX_MEMBERS or size > MAX_UNPACKED_BYTES:
        raise ImageError(
            f"{name} has {count_text(len(files), 'file')}, {format_bytes(size)}, more than {MAX_MEMBERS:,} "
            f"or {format_bytes(MAX_UNPACKED_BYTES)}: name a part of it"
        )


def _plain(part: str, name: str) -> str:
    if not part.strip(".") or set(part) & {"/", "\\", "\0"}:
        raise ImageError(f"{name} has a file of a name that leads elsewhere: name a part of it")
    return part


def _copy_file(store: Any, info: Any, target: Path) -> None:
    """Copy one file; raise ImageError if it is longer than the store says."""
    left = max(info.size or 0, 0)
    with store.open_input_stream(info.path) as stream, target.open("xb") as file:
        while data := stream.read(CHUNK_BYTES):
            left -= len(data)
            if left < 0:
                raise ImageError(f"{printable(info.path)} grew while it was read: try again")
            file.write(data)
