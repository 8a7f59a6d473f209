"""Refuses formats that are not read, each with the way to one that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

_SAVEZ = "numpy.savez('data.npz', images=images, labels=labels)"
_PICKLE = f"is a pickle, which can run code and is never read: load it where you trust it, then {_SAVEZ}"
_UNPACK = "is an archive: unpack it, and give the folder: `tar -xf {name}`"
_DATASETS = f"is a table of a format that is not read: convert it to arrays, then {_SAVEZ}"
_ARRAYS = f"is not read: load its arrays, then {_SAVEZ}"
_PICTURE = "is a picture of a format that is not read: convert it to PNG, JPEG or WebP"

_HINTS = {
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"), _PICKLE),
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), _UNPACK),
    **dict.fromkeys((".rar", ".7z"), "is an archive: unpack it, and give the folder, or a .zip"),
    **dict.fromkeys((".feather", ".tfrecord", ".xlsx"), _DATASETS),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), _ARRAYS),
    **dict.fromkeys((".heic", ".heif", ".avif", ".jp2", ".svg", ".pdf", ".dcm", ".psd"), _PICTURE),
    **dict.fromkeys(
        (".mp4", ".mov", ".avi"), "is a film: save its frames as pictures, `ffmpeg -i {name} %06d.png`"
    ),
}


def refuse(path: Path) -> None:
    """Raise ImageError if the name of ``path`` ends like a format that is not read."""
    name = path.name.lower()
    for suffix, hint in _HINTS.items():
        if name.endswith(suffix):
            raise ImageError(f"{printable(path)} {hint.format(name=printable(path.name))}")
