"""Read IDX, the format of MNIST's files, raw or compressed by gzip.

Layout (yann.lecun.com/exdb/mnist, "The IDX file format"): two zero bytes, a type code, the number of
dimensions, each dimension as a big-endian uint32, then the values, big-endian, in C order.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_DIMENSIONS
from producer.images.pieces.stored import Header, StoredArray
from producer.images.stream import open_stream, printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance
    from producer.images.stream import Stream

SPLITS = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
"""Files of images as MNIST and torchvision name them; others are like them."""

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def open_idx(path: Path, allowance: Allowance | None = None) -> StoredArray:
    """Return the array in the file ``path``, with its own type and 1 to 4 dimensions, within ``allowance``.

    Raises:
        ImageError: wrong magic number, or too many dimensions.
    """
    announce = None if allowance is None else allowance.values
    return StoredArray(partial(open_stream, path), _read_header, announce)


def open_idx_images(path: Path, allowance: Allowance | None = None) -> StoredArray:
    """Return the images in the file ``path`` as `open_idx` does; raise ImageError if it holds labels."""
    array = open_idx(path, allowance)
    if len(array.shape) == 1:
        raise ImageError(f"{printable(path)} holds labels (1 dimension): name the file of images first")
    return array


def _read_header(stream: Stream) -> Header:
    zeros, code, dimensions = struct.unpack(">HBB", stream.take(4))
    if zeros or code not in TYPES:
        magic = (zeros << 16) + (code << 8) + dimensions
        raise ImageError(
            f"{stream.name} is not an IDX file (its magic number is 0x{magic:08x}): give one that begins "
            "with 0x00000803 for images, or 0x00000801 for labels"
        )
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ImageError(f"{stream.name} has {dimensions} dimensions: images need 3, labels 1")
    shape = struct.unpack(f">{dimensions}I", stream.take(4 * dimensions))
    return Header(np.dtype(TYPES[code]), shape)


def find_idx_files(folder: Path) -> dict[str, Path]:
    """Return the images of MNIST by split in ``folder``, or in `raw` or `MNIST/raw`, as torchvision has them.

    Raises:
        ImageError: the images or their labels are a symbolic link out of the folder.
    """
    for inner in (folder, folder / "raw", folder / "MNIST" / "raw"):
        found = {split: path for split, name in SPLITS.items() if (path := _raw_or_packed(inner / name))}
        for path in found.values():
            refuse_exit(path, folder)
            labels = find_labels_file(path)
            if labels is not None:
                refuse_exit(labels, folder)
        if found:
            return found
    return {}


def _raw_or_packed(path: Path) -> Path | None:
    packed = path.with_name(f"{path.name}.gz")
    with translate_errors(path):
        return path if path.is_file() else packed if packed.is_file() else None


def find_labels_file(path: Path) -> Path | None:
    """Return the existing file of labels that belongs to the images in ``path`` by MNIST's names, or None.

    ``train-images-idx3-ubyte`` goes with ``train-labels-idx1-ubyte``; ``.idx3-ubyte`` and ``.gz`` are
    recognised in any combination, the images' own spelling first.
    """
    name = path.name
    if "images" not in name:
        return None
    own = name.replace("images", "labels").replace("idx3", "idx1")
    other = own.replace(".idx1", "-idx1") if ".idx1" in own else own.replace("-idx1", ".idx1")
    for candidate in (own, _other_packing(own), other, _other_packing(other)):
        labels = path.with_name(candidate)
        if labels.is_file():
            return labels
    return None


def _other_packing(name: str) -> str:
    return name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
