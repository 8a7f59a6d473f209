"""The Q matrix of a ready network, computed by a process of the worker's side."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import fit
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import ParameterError
from schema.settings import Settings

_PATIENCE_S = 300  # importing torch from a cold disk takes its time


@dataclass(frozen=True, eq=False)
class QMatrix:
    """values: (n, n) float64, upper triangular; sizes and kinds: of each layer of units, in Q's order."""

    values: NDArray[np.float64]
    sizes: tuple[int, ...]
    kinds: tuple[str, ...]


def read_image(text: str, network: ChosenNetwork) -> tuple[ImageSet, int]:
    """The images that `DATA` or `DATA:INDEX` names, and the index (0 where none is given).

    Raises:
        ImageError: they cannot be read, or do not suit the network. ParameterError: there is no such image.
    """
    data, colon, number = text.rpartition(":")
    has_index = bool(colon) and number.isdecimal() and not Path(text).exists()
    images = read_images(data if has_index else text)
    index = int(number) if has_index else 0
    if index >= len(images.images):
        raise ParameterError(f"{images.name} has {len(images.images)} images, 0 to {len(images.images) - 1}")
    only = replace(images, images=images.images[index : index + 1], labels=None, sources=None)
    fit(only, network)
    return images, index


def compute(settings: Settings, network: int, image: NDArray[np.uint8] | None = None) -> QMatrix:
    """Q of the network in row ``network`` for an image (H, W) uint8; None: all feature values are 0.

    Raises:
        AnnealqError: the worker's libraries are not installed, or the network is not ready.
    """
    with tempfile.TemporaryDirectory(prefix="annealq-") as folder:
        output = Path(folder) / "q.npz"
        arguments = [str(network), str(output)]
        if image is not None:
            given = Path(folder) / "image.npy"
            np.save(given, image, allow_pickle=False)
            arguments += ["--image", str(given)]
        programs.run(Program.Q_MATRIX, arguments, settings, timeout_s=_PATIENCE_S)
        with np.load(output, allow_pickle=False) as arrays:
            sizes, kinds = arrays["sizes"].tolist(), arrays["kinds"].tolist()
            return QMatrix(arrays["q_matrix"], tuple(sizes), tuple(kinds))
