"""Recognises the format of a path by its name, else by its first bytes; refuses formats that are not read."""

from __future__ import annotations

import re
import stat
from enum import StrEnum
from pathlib import Path

from producer.images.arrays.cifar_files import find_cifar, is_cifar
from producer.images.arrays.idx import find_idx_files
from producer.images.arrays.npy import MAGIC
from producer.images.columns.files.arrow import is_saved
from producer.images.pictures.entry import is_picture
from producer.images.pictures.paths import is_path_table
from producer.images.pieces.shards import PARQUET, TAR, find_shards
from producer.images.stream import open_stream, printable, translate_errors
from schema.errors import ImageError

DIGITS = "digits"
EXPLICIT_DIGITS = "sklearn:digits"
"""Names of scikit-learn's digits; the second one also where a file has the first."""


class SourceKind(StrEnum):
    """The format of a path, recognised by its name, else by its first bytes."""

    IDX = "IDX"
    CIFAR = ".bin"
    NPY = ".npy"
    NPZ = ".npz"
    CSV = ".csv"
    ZIP = ".zip"
    PARQUET = ".parquet"
    ARROW = ".arrow"
    TAR = ".tar"
    PATHS = "CSV of paths"
    PICTURE = "picture"
    FOLDER = "folder"


_BY_SUFFIX = (
    *(SourceKind.NPY, SourceKind.NPZ, SourceKind.CSV, SourceKind.ZIP),
    *(SourceKind.PARQUET, SourceKind.ARROW, SourceKind.TAR),
)
_SUFFIXES_WITH_PARTS = (".npz", ".zip", ".arrow", ".csv", ".csv.gz", *PARQUET, *TAR)

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")

_SAVEZ = "numpy.savez('data.npz', images=images, labels=labels)"
_PICKLE = f"is a pickle, which can run code and is never read: load it where you trust it, then {_SAVEZ}"
_UNPACK = "is an archive: unpack it, and give the folder: `tar -xf {name}`"
_DATASETS = (
    "is of a format that is not read: load it with the library that wrote it or with `datasets`, then "
    "data.to_parquet('data.parquet')"
)
_TABLE = f"is a table of a format that is not read: convert it to arrays, then {_SAVEZ}"
_ARRAYS = f"is not read: load its arrays, then {_SAVEZ}"
_PICTURE = "is a picture of a format that is not read: convert it to PNG, JPEG or WebP"

_BOXES = (
    "pictures with boxes are not read, save one picture per object in class folders, or load the set with "
    "`datasets`, then data.to_parquet('data.parquet')"
)

_HINTS = {
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"), _PICKLE),
    **dict.fromkeys((".tar.bz2", ".tar.xz", ".tar.zst"), _UNPACK),
    **dict.fromkeys((".rar", ".7z"), "is an archive: unpack it, and give the folder, or a .zip"),
    **dict.fromkeys((".feather", ".xlsx"), _TABLE),
    **dict.fromkeys((".tfrecord", ".tfrecords", ".lmdb", ".mdb", ".beton", ".rec"), _DATASETS),
    ".json": "is JSON, as COCO has its notes: " + _BOXES,
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".mat"), _ARRAYS),
    **dict.fromkeys((".heic", ".heif", ".avif", ".jp2", ".svg", ".pdf", ".dcm", ".psd"), _PICTURE),
    **dict.fromkeys(
        (".mp4", ".mov", ".avi"), "is a film: save its frames as pictures, `ffmpeg -i {name} %06d.png`"
    ),
}


def locate(source: str | Path) -> tuple[Path, str | None]:
    """Return the path, and the part of it that was named after a colon: a split, an array, a folder.

    Raises:
        ImageError: the text is empty, or a folder cannot be looked at.
    """
    text = str(source)
    if not text:
        raise ImageError(f"no images were named: give a file, a folder, or {DIGITS}")
    if _ADDRESS.match(text):
        raise ImageError(
            f"{printable(text)} is an address: commands read s3://, gs:// and abfs:// as DATA, fetch others"
        )
    path = Path(text)
    head, colon, part = text.rpartition(":")
    has_parts = head.lower().endswith(_SUFFIXES_WITH_PARTS) or _is_folder(Path(head))
    if colon and has_parts and not exists(path):
        return Path(head), part
    return path, None


def _is_folder(path: Path) -> bool:
    with translate_errors(path):
        return path.is_dir()


def exists(path: Path) -> bool:
    """Return whether ``path`` exists; raise ImageError if its folder cannot be looked at."""
    with translate_errors(path):
        return path.exists()


def kind_of(path: Path) -> SourceKind:
    """Return the format of ``path``; raise ImageError if it is missing, or of a format that is not read."""
    with translate_errors(path):
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    return _kind_of_folder(path) if is_folder else _kind_of_file(path)


def _kind_of_folder(folder: Path) -> SourceKind:
    if is_saved(folder):
        return SourceKind.ARROW
    for kind, suffixes in ((SourceKind.PARQUET, PARQUET), (SourceKind.TAR, TAR)):
        if find_shards(folder, suffixes):
            return kind
    if find_cifar(folder):
        return SourceKind.CIFAR
    if find_idx_files(folder):
        return SourceKind.IDX
    _refuse_folder(folder)
    return SourceKind.FOLDER


def _kind_of_file(path: Path) -> SourceKind:
    name = path.name.lower()
    _refuse(path)
    for kind in _BY_SUFFIX:
        if name.removesuffix(".gz").endswith(kind):
            return SourceKind.PATHS if kind is SourceKind.CSV and is_path_table(path) else kind
    if name.endswith(TAR):
        return SourceKind.TAR
    if is_picture(name):
        return SourceKind.PICTURE
    if is_cifar(path):
        return SourceKind.CIFAR
    return SourceKind.IDX if "idx" in name else _sniffed(path)


def _sniffed(path: Path) -> SourceKind:
    with open_stream(path) as stream:
        first = stream.file.read(len(MAGIC))
    for magic, kind in ((MAGIC, SourceKind.NPY), (b"PK", SourceKind.NPZ), (b"\0\0", SourceKind.IDX)):
        if first.startswith(magic):
            return kind
    raise ImageError(
        f"{printable(path)} has an unknown format: give IDX, .npy, .npz, .csv, a picture or a folder "
        "of pictures"
    )


def _refuse(path: Path) -> None:
    """Raise ImageError if the name of ``path`` ends like a format that is not read, perhaps as a shard."""
    name = _SHARD.sub("", path.name.lower())
    for suffix, hint in _HINTS.items():
        if name.endswith(suffix):
            raise ImageError(f"{printable(path)} {hint.format(name=printable(path.name))}")


def _refuse_folder(folder: Path) -> None:
    """Raise ImageError if ``folder`` holds a data set of a format that is not read."""
    with translate_errors(folder):
        names = sorted(path.name for path in folder.iterdir())
        notes = folder / "annotations"
        boxes = sorted(path.name for path in notes.glob("instances_*.json")) if notes.is_dir() else []
    for name in names:
        if _SHARD.sub("", name.lower()).endswith((".tfrecord", ".tfrecords", ".mdb")):
            _refuse(folder / name)
    if boxes:
        raise ImageError(f"{printable(notes / boxes[0])} is of COCO: {_BOXES}")
