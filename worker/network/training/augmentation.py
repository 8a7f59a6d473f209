"""Makes more images of those that there are: moved ones, and ones with a flipped pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.shapes import InputArray


def move_images(pixels: Tensor, most: int) -> Tensor:
    """Move, turn, shear and stretch each of ``pixels`` (B, C, h, w) a little, with zeros from outside.

    Half of ``most`` pixels comes from moving, half from the linear map: the middle of no edge moves by more
    than ``most`` pixels along either axis.
    """
    if not most:
        return pixels
    count, channels, height, width = pixels.shape
    # grid_sample measures from -1 to 1 across the image: a pixel is 2 / side.
    reach = torch.tensor([most / width, most / height]).reshape(1, 2, 1)
    theta = reach * (2.0 * torch.rand(count, 2, 3) - 1.0)
    theta[:, :, :2] += torch.eye(2)
    grid = torch.nn.functional.affine_grid(theta, [count, channels, height, width], align_corners=False)
    return torch.nn.functional.grid_sample(pixels, grid, align_corners=False)


def join_flips(
    images: InputArray, labels: NDArray[np.integer[Any]], image_max: int
) -> tuple[InputArray, NDArray[np.integer[Any]]]:
    """Return images followed by all their one-value flips, (N H W, H, W) for grey ones, with labels.

    Args:
        images: pixels.
        labels: (N,).
        image_max: largest value; a flipped pixel p becomes image_max - p.

    Examples:
        >>> images, labels = join_flips(np.array([[[0, 1]]], dtype=np.uint8), np.array([7]), image_max=1)
        >>> images.tolist(), labels.tolist()
        ([[[0, 1]], [[1, 1]], [[0, 0]]], [7, 7, 7])
    """
    flat = images.reshape(len(images), 1, -1)
    values = flat.shape[2]
    flips = np.where(np.eye(values, dtype=np.bool_), image_max - flat, flat).astype(np.uint8)
    joined = np.concatenate((images, flips.reshape(-1, *images.shape[1:])))
    return joined, np.concatenate((labels, labels.repeat(values)))
