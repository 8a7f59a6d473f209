"""Finds the files of the binary versions of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from producer.images.stream import printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

SIDE, COLOURS = 32, 3
PIXELS = SIDE * SIDE * COLOURS
"""Bytes of an image."""

SUFFIX = ".bin"


class Version(NamedTuple):
    """The files of a version by split, its file of class names, their number, and bytes before the pixels."""

    files: dict[str, tuple[str, ...]]
    names: str
    classes: int
    head: int


VERSIONS = (
    Version(
        {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        10,
        1,
    ),
    Version({"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt", 100, 2),
)


PICKLES = ({"data_batch_1", "batches.meta"}, {"train", "test", "meta"})
"""Names of files of the versions for Python."""


def is_cifar(path: Path) -> bool:
    """Return whether the file ``path`` may be one of CIFAR by its name and size."""
    with translate_errors(path):
        size = path.stat().st_size
    is_whole = any(size % (version.head + PIXELS) == 0 for version in VERSIONS)
    return path.name.lower().endswith(SUFFIX) and size > 0 and is_whole


def find_cifar(folder: Path) -> dict[str, list[Path]]:
    """Return the files of CIFAR in ``folder`` by split; empty if there are none.

    Raises:
        ImageError: a file is missing, or a symbolic link out of the folder; the folder has the pickles.
    """
    with translate_errors(folder):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if any(pickles <= names for pickles in PICKLES):
        raise ImageError(
            f"{printable(folder)} is CIFAR for Python, in pickles, which can run code and are never read: "
            "fetch the binary version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, and unpack it"
        )
    for version in VERSIONS:
        files = [name for split in version.files.values() for name in split]
        if version.names not in names and not set(files) <= names:
            continue
        missing = next((name for name in files if name not in names), None)
        if missing is not None:
            raise ImageError(f"{printable(folder)} lacks {missing}: unpack the archive of CIFAR again")
        for name in (*files, version.names):
            refuse_exit(folder / name, folder)
        return {split: [folder / name for name in names] for split, names in version.files.items()}
    return {}
