"""Files: images and labels as those of a form, from paths, bytes, arrays or lists; and results to write."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from .errors import ClientError, UnusableImages

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    # A path of a file or folder; the bytes of a file; an open file; numbers (N, H, W); or a list of the first
    # three, each of which is one picture.
    Source: TypeAlias = str | os.PathLike[str] | bytes | io.IOBase
    Images: TypeAlias = Source | Sequence[Source] | ArrayLike
    Labels: TypeAlias = Source | ArrayLike

    File: TypeAlias = tuple[str, bytes]  # name and content

# The first bytes of files whose name is not known, and the suffix that tells the server how to read them.
_STARTS = (
    (re.compile(rb"\x93NUMPY"), ".npy"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
    (re.compile(rb"BM"), ".bmp"),
    (re.compile(rb"GIF8"), ".gif"),
    (re.compile(rb"II\*\0|MM\0\*"), ".tif"),
    (re.compile(rb"P5\s"), ".pgm"),
    (re.compile(rb"\0\0\x08[\x01-\x03]"), ".idx"),
    (re.compile(rb"\x1f\x8b"), ".idx.gz"),
)


def form_files(images: Images | None, labels: Labels | None) -> list[tuple[str, File]]:
    """Return the files of a form, with the names of their fields; raise UnusableImages."""
    files = [] if images is None else [("images", file) for file in image_files(images)]
    return files if labels is None else [*files, ("labels", label_file(labels))]


def image_files(images: Images) -> list[File]:
    """Return ``images`` as files.

    A folder becomes one .zip, so that its subfolders are still the classes of its pictures.

    Raises:
        UnusableImages: a file cannot be read, or the value is of no known kind.

    >>> image_files(b"\\x89PNG\\r\\n\\x1a\\n...")
    [('images.png', b'\\x89PNG\\r\\n\\x1a\\n...')]
    """
    if _is_source(images):
        return [_file(images, "images")]
    if isinstance(images, list | tuple) and images and all(map(_is_source, images)):
        return [_file(image, f"{number:06}") for number, image in enumerate(images)]
    return [("images.npy", npy(images, "images"))]


def label_file(labels: Labels) -> File:
    """Return ``labels`` as a file: (N,) numbers, one class for each image, or a file as `image_files` takes.

    Raises:
        UnusableImages: a file cannot be read, or the values are not numbers.
    """
    return _file(labels, "labels") if _is_source(labels) else ("labels.npy", npy(labels, "labels"))


def weights_file(weights: Source) -> File:
    """Return ``weights``, a path, bytes or an open file, as a file; raise UnusableImages."""
    _, content = _file(weights, "weights")
    return "weights.safetensors", content


def npy(values: Any, what: str) -> bytes:
    """Return an array of numbers in NumPy's format; raise UnusableImages, naming ``what``, for others."""
    import numpy as np

    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnusableImages(f"{what}: {error}: give all images one size, as (N, H, W)") from None
    if array.dtype.kind not in "biuf":
        raise UnusableImages(
            f"{what}: values of type {array.dtype} are not numbers: give an array (N, H, W), a path, a list "
            "of paths, or the bytes of a file"
        )
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _is_source(value: Any) -> bool:
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(value, "read")


def _file(source: Any, name: str) -> File:
    if isinstance(source, str | os.PathLike):
        return _stored(Path(source).expanduser())
    if hasattr(source, "read"):
        content = source.read()
        name = os.path.basename(str(getattr(source, "name", ""))) or name  # noqa: PTH119 - may be a number
    else:
        content = bytes(source)
    if not isinstance(content, bytes):
        raise UnusableImages(f"{name}: is open as text: open it in binary mode, as open(path, 'rb')")
    return (name if Path(name).suffix else f"{name}{_suffix(content)}"), content


def _stored(path: Path) -> File:
    try:
        if path.is_dir():
            return f"{path.resolve().name}.zip", _zipped(path)
        return path.name, path.read_bytes()
    except OSError as error:
        raise UnusableImages(
            f"{path} cannot be read ({error.strerror or error}): give the path of a file or folder on this "
            "machine, or uri= for one on the server's"
        ) from None


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in _files_below(folder):
            archive.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()


def _files_below(folder: Path) -> Iterable[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    if not found:
        raise UnusableImages(f"{folder}: the folder has no files: give one with pictures")
    return found


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _suffix(content: bytes) -> str:
    """Return the suffix of a file with this ``content``; without a known start it is text, as CSV."""
    if content.startswith(b"PK\x03\x04"):
        names = zipfile.ZipFile(io.BytesIO(content)).namelist() if _is_zip(content) else []
        return ".npz" if names and all(name.endswith(".npy") for name in names) else ".zip"
    return next((suffix for start, suffix in _STARTS if start.match(content)), ".csv")


def _is_zip(content: bytes) -> bool:
    return zipfile.is_zipfile(io.BytesIO(content))


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``target`` at the end of the block, unless there is an error."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        raise ClientError(
            f"{target} cannot be written ({error.strerror or error}): give another path"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
