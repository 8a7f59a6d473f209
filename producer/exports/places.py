"""Writes the files of a folder, or the members of a .zip, which is complete afterwards, or absent."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from producer.files import new_folder, replacing

Place = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a new file of this relative path; one is open at a time."""

_PACKED = (".png", ".parquet")  # deflating them again would take time and save nothing


@contextmanager
def folder_or_zip(path: Path) -> Iterator[Place]:
    """Yield what opens the files of the new folder ``path``, or of the .zip that it names.

    Raises:
        ParameterError: the folder exists already, or it cannot be written.
        DiskFull: no space left; nothing is left of it.
    """
    if path.suffix.lower() == ".zip":
        with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
            yield partial(_open_member, archive)
    else:
        with new_folder(path) as folder:
            yield partial(_open_file, folder)


def _open_file(folder: Path, name: str) -> IO[bytes]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
    return archive.open(member, "w", force_zip64=True)
