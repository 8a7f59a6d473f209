"""Images of a request: files of a form, numbers in JSON, or a file below an allowed folder.

The readers are those of `producer.images`, with their limits and those of the API's settings.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

from producer.api.core.errors import printable
from producer.api.load.memory import Take
from producer.files import temporary
from producer.images.arrays.idx import find_labels_file
from producer.images.given import read_given
from producer.images.imageset import ImageSet
from producer.images.origin import DataOrigin
from producer.images.pictures.entry import SUFFIXES, is_picture
from producer.images.pictures.picture import announced_pixels, read_picture
from producer.images.pieces.allowance import Allowance
from producer.images.pieces.collector import collect
from producer.images.preprocessing import Changes, DifferentSizesError, LaterColourError, Preprocessing
from producer.images.readers import read_labels
from producer.images.source import for_network, read_images
from producer.images.values.labels import to_labels
from schema.errors import ImageError, NetworkError, ParameterError, RequestRefused
from schema.network.layers import Input
from schema.quantities import count_text
from schema.settings import ApiSettings
from schema.shapes import ImageArray, ImageShape

_MAX_DECODED_PIXELS = 2_000_000_000  # of all pictures of a request: about half a minute of one processor
_KNOWN = (
    *(".npz", ".npy", ".csv", ".txt", ".idx", ".bin", ".zip", ".tar", ".tgz", ".parquet", ".arrow"),
    *SUFFIXES,
)


Takes = Callable[[bool], Input | None]
"""Returns the input of the network that takes the images; see `producer.images.source.read_images`."""


@dataclass(frozen=True)
class SentFile:
    """A file of a form, with the name that its sender gave it."""

    name: str
    file: BinaryIO


class Reading(Protocol):
    """How images are read."""

    @property
    def part(self) -> str | None:
        """Return the set of images in an .npz file, or None."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image."""


class Numbers(Protocol):
    """Images and labels as numbers, and what is done to each image."""

    @property
    def images(self) -> list[Any] | None:
        """Return rows of pixels of each image."""

    @property
    def labels(self) -> list[Any] | None:
        """Return a label for each image, or None."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image."""


def sent_files(parts: Sequence[tuple[str, UploadFile | str]], *names: str) -> dict[str, list[SentFile]]:
    """Return the files of a form by name; raise ParameterError for one that is not among ``names``."""
    files: dict[str, list[SentFile]] = {name: [] for name in names}
    for name, part in parts:
        if isinstance(part, str):
            continue
        if name not in files:
            known = " and ".join(f"`{each}`" for each in names)
            raise ParameterError(f"unknown file field {name!r:.100}; use {known}")
        files[name].append(SentFile(part.filename or name, part.file))
    return files


@contextmanager
def stored(sent: SentFile, name: str) -> Iterator[Path]:
    """Store ``sent`` as a file called ``name`` until the block ends; errors have its sender's name for it."""
    with temporary(), tempfile.TemporaryDirectory(prefix="annealq-upload-") as folder:
        path = Path(folder) / name
        with path.open("wb") as file:
            shutil.copyfileobj(sent.file, file)
        try:
            yield path
        except NetworkError as error:
            raise NetworkError(str(error).replace(str(path), base_name(sent.name))) from error


def allowance(limits: ApiSettings, take: Take, expect: Callable[[int], None] | None = None) -> Allowance:
    """Return what the images of a request may need by the ``limits`` of the API.

    ``take`` reserves memory; ``expect`` is asked for the number of images, before they are decoded.
    """
    return Allowance(limits.max_decoded, take, max_pixels=_MAX_DECODED_PIXELS, expect=expect)


def read_sent(
    files: Mapping[str, Sequence[SentFile]],
    uri: str | None,
    options: Reading,
    limits: ApiSettings,
    allowed: Allowance,
    takes: Takes,
) -> ImageSet:
    """Return the images at ``uri``, or else those of a form, whose ``files`` are `images` and `labels`.

    The other arguments, and what is raised, are those of `read_uri` and `read_files`.
    """
    if uri is not None:
        return read_uri(uri, options, limits, allowed, takes)
    return read_files(files["images"], next(iter(files["labels"]), None), options, allowed, takes)


def read_files(
    files: Sequence[SentFile],
    labels: SentFile | None,
    options: Reading,
    allowed: Allowance,
    takes: Takes,
) -> ImageSet:
    """Return the images of ``files``: one file of any known format, or any number of pictures in order.

    ``labels`` is a file, too; ``options`` may name a part of the file; ``allowed`` is what they may need;
    ``takes`` is that of `producer.images.source.read_images`.

    Raises:
        ImageError: the files cannot be read; it has the names that the sender gave them.
        RequestRefused: 413, 503, there is not enough memory.
        DiskFull: no space is left for temporary files.
    """
    sent, preprocessing = files if labels is None else [*files, labels], options.preprocessing
    with temporary(), tempfile.TemporaryDirectory(prefix="annealq-upload-") as folder:
        paths = [store_file(file, Path(folder), k) for k, file in enumerate(sent)]
        label_path = None if labels is None else paths.pop()
        try:
            if len(paths) > 1:
                return _read_pictures(files, paths, label_path, preprocessing, allowed, takes)
            read = read_images(
                paths[0], label_path, preprocessing, part=options.part, allowance=allowed, takes=takes
            )
        except ImageError as error:
            message = str(error)
            for path, file in zip([*paths, label_path], sent, strict=False):
                message = message.replace(str(path), base_name(file.name))
            raise ImageError(message) from error
    sources = (printable(files[0].name),) if is_picture(paths[0].name) else read.sources
    name = base_name(files[0].name)
    return replace(read, name=name, sources=sources, origin=_sent(name))


def read_numbers(request: Numbers) -> ImageSet:
    """Return the images in the JSON body ``request``; raise ImageError if values or labels are invalid."""
    return read_given(request.images, request.labels, request.preprocessing)


def read_uri(uri: str, options: Reading, limits: ApiSettings, allowed: Allowance, takes: Takes) -> ImageSet:
    """Return the images at ``uri``, a file or folder below the folders in ``limits``, as ``options`` say.

    ``allowed`` is what they may need; ``takes`` is that of `producer.images.source.read_images`. A part of
    the data is named by the options, or after a colon.

    Raises:
        RequestRefused: 403, the file, or the one with its labels, is not below one of the folders; 413, 503,
            there is not enough memory.
        ImageError: the file cannot be read.
    """
    path, part = find_uri(uri, options.part, limits)
    return read_images(path, preprocessing=options.preprocessing, part=part, allowance=allowed, takes=takes)


def find_uri(uri: str, part: str | None, limits: ApiSettings) -> tuple[Path, str | None]:
    """Return the path of ``uri`` without links, and the ``part`` of its images; raise as `read_uri` does."""
    parts = urlsplit(uri)
    is_local = parts.scheme in ("", "file") and parts.netloc in ("", "localhost")
    text = unquote(parts.path) if parts.scheme else uri
    real, part = _locate(text, part) if is_local and Path(text).is_absolute() else (None, None)
    if real is None or not _is_inside(real, limits.folders):
        raise _outside(uri)
    labels = find_labels_file(real)
    if labels is not None and not _is_inside(_resolve(labels), limits.folders):
        raise _outside(str(labels))
    return real, part


def _locate(text: str, part: str | None) -> tuple[Path | None, str | None]:
    """Return the file that ``text`` names, without links, and the ``part`` of it, perhaps after a colon.

    Links are resolved before a part is split off, so that neither leads out of a folder. A path that does
    not exist is returned as far as it can be resolved, for a message.
    """
    real = _resolve(Path(text), strict=True)
    head, colon, named = text.rpartition(":")
    if real is None and part is None and colon:
        real = _resolve(Path(head), strict=True)
        part = None if real is None else named
    return (_resolve(Path(text)) if real is None else real), part


def _resolve(path: Path, *, strict: bool = False) -> Path | None:
    try:
        return path.resolve(strict=strict)
    except (OSError, RuntimeError, ValueError):  # missing, a loop of links, a zero byte
        return None


def _is_inside(path: Path | None, folders: Sequence[Path]) -> bool:
    return path is not None and any(path.is_relative_to(folder) for folder in folders)


def _outside(uri: str) -> RequestRefused:
    return RequestRefused(
        f"uri {printable(uri)!r} is not below a folder that may be read",
        403,
        "send the images themselves, or let the operator set ANNEALQ_API_FOLDERS",
    )


def store_file(sent: SentFile, folder: Path, number: int) -> Path:
    """Write ``sent`` to ``folder``, with ``number`` as its name and a known suffix of the sender's name."""
    suffixes = "".join(PurePosixPath(sent.name.lower()).suffixes[-2:])
    suffix = next((f"{s}{z}" for s in _KNOWN for z in ("", ".gz") if suffixes.endswith(s + z)), "")
    path = folder / f"{number:06}{suffix}"
    sent.file.seek(0)
    with path.open("wb") as file:
        shutil.copyfileobj(sent.file, file)
    return path


def base_name(name: str) -> str:
    """Return the last part of a sender's file name, for display."""
    return printable(name.replace("\\", "/").rpartition("/")[2])[:200] or "images"


def _read_pictures(
    files: Sequence[SentFile],
    paths: Sequence[Path],
    labels: Path | None,
    preprocessing: Preprocessing,
    allowed: Allowance,
    takes: Takes,
) -> ImageSet:
    for file in files:
        if not is_picture(file.name):
            raise ImageError(
                f"{base_name(file.name)}: several files must all be pictures; send one .npz, .npy, CSV or "
                "IDX file alone"
            )
    allowed.images(len(paths))
    allowed.pictures(len(paths), sum(map(announced_pixels, paths)))
    changes, known = Changes(), takes(False)
    prepared = for_network(preprocessing, known)
    try:
        pixels = _decode_as_one(files, paths, prepared, changes, allowed)
    except DifferentSizesError:
        found = takes(True) if known is None else None
        if found is None:
            raise
        changes.clear()
        pixels = _decode_as_one(files, paths, for_network(preprocessing, found), changes, allowed)
    numbers = None
    if labels is not None:
        numbers = to_labels(read_labels(labels, allowed), len(pixels), "labels")
    names = tuple(base_name(file.name) for file in files)
    return ImageSet("pictures", pixels, numbers, None, names, changes.notes(), origin=_sent("pictures"))


def _decode_as_one(
    files: Sequence[SentFile],
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    changes: Changes,
    allowed: Allowance,
) -> ImageArray:
    """Return the pictures in ``paths``, all coloured if one of them is; raise ImageError."""
    try:
        return _decode_all(files, paths, preprocessing, changes, allowed)
    except LaterColourError:
        changes.clear()
        return _decode_all(files, paths, replace(preprocessing, colour=True), changes, allowed)


def _decode_all(
    files: Sequence[SentFile],
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    changes: Changes,
    allowed: Allowance,
) -> ImageArray:
    """Return the pictures in ``paths``, grey or coloured; raise LaterColourError, ImageError."""
    first = read_picture(paths[0], preprocessing, changes, allowed)
    colour = True if first.ndim == 3 else preprocessing.colour
    allowed.values(count_text(len(paths), "picture"), len(paths) * first.size)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        yield first
        for path, file in zip(paths[1:], files[1:], strict=True):
            picture = read_picture(path, replace(preprocessing, colour=colour), changes, allowed)
            if picture.ndim > first.ndim:
                raise LaterColourError(base_name(file.name))
            if picture.shape != first.shape:
                raise DifferentSizesError(
                    f"{base_name(file.name)}: is {picture.shape[0]} x {picture.shape[1]} pixels, the first "
                    f"is {first.shape[0]} x {first.shape[1]}",
                    first.shape,
                    picture.shape,
                )
            yield picture

    return collect(len(paths), ImageShape(first.shape), pictures())


def _sent(name: str) -> DataOrigin:
    return DataOrigin(name, name, uploaded=True)
