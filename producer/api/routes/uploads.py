"""Images that come with a request: files of a form, numbers in JSON, or a file below an allowed folder.

They are read by the readers of `producer.images`, whose limits hold, and those of the API's settings.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import numpy as np

from producer.api.core.errors import printable
from producer.api.core.settings import ApiSettings
from producer.api.routes.options import RunBody, RunBodyOptions
from producer.images.imageset import ImageSet
from producer.images.labels import to_labels
from producer.images.picture import SUFFIXES, is_picture, read_picture
from producer.images.pixels import to_pixels
from producer.images.source import read_images, read_labels
from schema.errors import ImageError, RequestRefused

_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_KNOWN = (".npz", ".npy", ".csv", ".txt", ".idx", *SUFFIXES)


@dataclass(frozen=True)
class SentFile:
    """A file of a form: the name that its sender gave it, and its bytes."""

    name: str
    file: BinaryIO


def read_files(
    files: Sequence[SentFile], labels: SentFile | None, options: RunBodyOptions, limits: ApiSettings
) -> ImageSet:
    """The images of a form: one file of any known format, or any number of pictures, in the order sent.

    Raises:
        ImageError: they cannot be read; names are the sender's.
    """
    with tempfile.TemporaryDirectory(prefix="annealq-upload-") as folder, _as_sent(Path(folder)) as keep:
        paths = [keep(file) for file in files]
        label_path = None if labels is None else keep(labels)
        if len(paths) == 1:
            _refuse_bomb(paths[0], limits.max_decoded)
            read = read_images(_with_part(paths[0], options.part), label_path)
            sources = None if read.sources is None else (printable(files[0].name),)
            return replace(read, name=_base(files[0].name), sources=sources)
        return _read_pictures(files, paths, label_path, limits.max_decoded)


def read_numbers(request: RunBody) -> ImageSet:
    """The images of a JSON body. Raises ImageError: no pixels, or labels that do not agree with them."""
    pixels = to_pixels(_array(request.images, "images"), "images")
    labels = None
    if request.labels is not None:
        labels = to_labels(_array(request.labels, "labels"), len(pixels), "labels")
    return ImageSet("images", pixels, labels, None, None)


def read_uri(uri: str, part: str | None, limits: ApiSettings) -> ImageSet:
    """The images of a file or folder that the operator allows.

    Raises:
        RequestRefused: 403, it is not below one of the allowed folders. ImageError: it cannot be read.
    """
    parts = urlsplit(uri)
    is_local = parts.scheme in ("", "file") and parts.netloc in ("", "localhost")
    path = Path(unquote(parts.path) if parts.scheme else uri)
    # Links are followed first: what counts is where they lead.
    real = _resolve(path) if is_local and path.is_absolute() else None
    if real is None or not any(real.is_relative_to(folder) for folder in limits.folders):
        raise RequestRefused(
            f"uri {printable(uri)!r} is not below a folder that may be read",
            403,
            "send the images themselves; the operator allows folders by ANNEALQ_API_FOLDERS",
        )
    if real.is_file():
        _refuse_bomb(real, limits.max_decoded)
    return read_images(_with_part(real, part))


def _resolve(path: Path) -> Path | None:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        return None


def _with_part(path: Path, part: str | None) -> str:
    return str(path) if part is None else f"{path}:{part}"


@contextmanager
def _as_sent(folder: Path) -> Iterator[_Keep]:
    """Keeps files under names of our own; errors speak of theirs."""
    keep = _Keep(folder)
    try:
        yield keep
    except ImageError as error:
        raise ImageError(keep.rename(str(error))) from error


class _Keep:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def __call__(self, sent: SentFile) -> Path:
        suffixes = "".join(PurePosixPath(sent.name.lower()).suffixes[-2:])
        known = next((f"{s}{z}" for s in _KNOWN for z in ("", ".gz") if suffixes.endswith(s + z)), "")
        path = self._folder / f"{len(self._names):06}{known}"
        with path.open("wb") as file:
            shutil.copyfileobj(sent.file, file)
        self._names[str(path)] = _base(sent.name)
        return path

    def rename(self, message: str) -> str:
        for path, name in self._names.items():
            message = message.replace(path, name)
        return message


def _base(name: str) -> str:
    """The last part of a file's name as its sender gave it, for people."""
    return printable(name.replace("\\", "/").rpartition("/")[2])[:200] or "images"


def _read_pictures(
    files: Sequence[SentFile], paths: Sequence[Path], labels: Path | None, most: int
) -> ImageSet:
    for file in files:
        if not is_picture(file.name):
            raise ImageError(
                f"{_base(file.name)}: several files must all be pictures; send one .npz, .npy, CSV or IDX "
                "file alone"
            )
    first = read_picture(paths[0])
    if len(paths) * first.size > most:
        raise ImageError(f"{len(paths):,} pictures of {first.size:,} pixels are too many: send fewer")
    pixels = np.empty((len(paths), *first.shape), np.uint8)
    for row, path in enumerate(paths):
        picture = read_picture(path)
        if picture.shape != first.shape:
            raise ImageError(
                f"{_base(files[row].name)}: is {picture.shape[0]} x {picture.shape[1]} pixels, the first is "
                f"{first.shape[0]} x {first.shape[1]}; scale them to one size"
            )
        pixels[row] = picture
    given = None if labels is None else to_labels(read_labels(labels), len(pixels), "labels")
    return ImageSet("pictures", pixels, given, None, tuple(_base(file.name) for file in files))


def _array(values: object, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    try:
        return np.asarray(values)
    except (ValueError, OverflowError, TypeError):
        raise ImageError(
            f"{name}: rows or images of different sizes; all rows need one length, all images one size"
        ) from None


def _refuse_bomb(path: Path, most: int) -> None:
    """Refuse what would become more than ``most`` bytes unpacked; damage is the readers' matter."""
    if _unpacked(path, most) > most:
        raise ImageError(f"{path}: unpacks to more than {most / 1e6:g} MB: send fewer images in each run")


def _unpacked(path: Path, most: int) -> int:
    with path.open("rb") as file:
        is_gzip = file.read(len(_GZIP)) == _GZIP
    try:
        if is_gzip:
            return _gunzipped(path, most)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return sum(info.file_size for info in archive.infolist())
    except (OSError, EOFError, ValueError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return 0
    return path.stat().st_size


def _gunzipped(path: Path, most: int) -> int:
    size = 0
    with gzip.open(path) as file:
        while size <= most and (chunk := file.read(_CHUNK)):
            size += len(chunk)
    return size
