"""From images to feature values: one forward pass for a batch.

torch is imported where a network is run: many programs read networks, and its import takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import ImageError
from schema.network.architecture import THRESHOLD, Architecture
from schema.network.layers import ImageInput
from schema.network.weights import Weights
from schema.shapes import ImageArray, InputArray

if TYPE_CHECKING:
    from torch import Tensor

    from worker.network.layers import Names, NetworkModule

# Values of a layer that are in memory at once, 64 MB in float32.
_BLOCK_VALUES = 16_000_000
# Images of a forward pass: values of more leave the processor's cache, which takes `mnist` 1.4 times as long.
_BLOCK_IMAGES = 256


def features(network: NetworkModule, images: InputArray, without: Names = ()) -> NDArray[np.float64]:
    """Return features (B, nv) float64 in [-alpha, alpha] of ``images`` by ``network``.

    Those of its sources ``without`` which it does are 0.

    Raises:
        ImageError: another size or type than the network takes, or a pixel above its image_max.
    """

    def visible(pixels: Tensor) -> Tensor:
        return network.visible(pixels, without)

    return forward(network, images, visible, network.architecture.visible)


def check_images(architecture: Architecture, images: InputArray) -> None:
    """Raise ``ImageError`` unless ``images`` have shape, type and range that ``architecture`` takes."""
    spec, shape = architecture.input, architecture.input.image_shape
    if (values := architecture.joined_values) is not None:
        if images.dtype != np.float16 or images.shape[1:] != (values,):
            raise ImageError(
                f"{architecture.name} takes {values} joined values (B, {values}) float16, not {images.dtype} "
                f"{images.shape}"
            )
        return
    if images.dtype != shape.dtype:
        raise ImageError(f"{architecture.name} takes {shape.dtype}, not {images.dtype}")
    if images.shape[1:] != shape.sizes:
        sizes = ", ".join(map(str, shape.sizes))
        raise ImageError(f"{architecture.name} takes images (B, {sizes}), not {images.shape}")
    if isinstance(spec, ImageInput) and images.size and int(images.max()) > spec.image_max:
        raise ImageError(
            f"a pixel is {int(images.max())}, but {architecture.name} takes values from 0 to {spec.image_max}"
        )


def join_inputs(vectors: Sequence[NDArray[np.float16]], images: ImageArray | None) -> InputArray:
    """Return what the trained layers of a network take of B images.

    These are the ``images``, or rows (B, V) of joined values, see `Architecture.joined_values`. Vectors are
    stored as float16, and pixels from 0 to 255 are exact in it.

    Args:
        vectors: (B, D) of each of its backbones.
        images: as it takes them; None: no trained layer sees them.
    """
    parts: list[InputArray] = [*vectors] if images is None else [*vectors, images]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(np.float16)


def restore(architecture: Architecture, weights: Weights) -> NetworkModule:
    """Return the torch network of ``architecture`` with these ``weights``, for inference.

    With the channels last, convolutions and pools are twice as fast.
    """
    import torch

    from worker.network.layers import NetworkModule

    network = NetworkModule(architecture, threshold=0.5 if THRESHOLD in weights else None)
    names = network.state_dict()
    network.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in names})
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's types do not know it


def block_size(architecture: Architecture) -> int:
    """Return how many images a forward pass of ``architecture`` takes at once."""
    taken = (architecture.joined_values or 0,)
    shapes = (taken, architecture.input.shape, *architecture.feature_shapes)
    # Hidden units have values for each class.
    values = max(*(int(np.prod(shape)) for shape in shapes), architecture.classes * max(architecture.sizes))
    return max(1, min(_BLOCK_VALUES // values, _BLOCK_IMAGES))


def forward(
    network: NetworkModule, images: InputArray, function: Callable[[Tensor], Tensor], width: int
) -> NDArray[np.float64]:
    """Return ``function`` of the pixels of ``images``, (B, ``width``) float64, block by block.

    Raises:
        ImageError: another size or type than the network takes, or a pixel above its image_max.
    """
    import torch

    check_images(network.architecture, images)
    block = block_size(network.architecture)
    out = np.empty((len(images), width))
    with torch.no_grad():
        for start in range(0, len(images), block):
            # A copy: stored images are read-only, and torch warns of read-only arrays.
            pixels = network.pixels(torch.from_numpy(np.array(images[start : start + block], order="C")))
            out[start : start + block] = function(pixels).numpy()
    return out
