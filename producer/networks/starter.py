"""Writes a first architecture for images: their shape and classes, and layers like those of `mnist`."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from producer.backbones.queries import BackboneSummary
from producer.images.imageset import ImageSet
from producer.images.stream import printable
from schema.errors import ImageError
from schema.network.architecture import MAX_CLASSES, Architecture
from schema.network.balance import are_unbalanced
from schema.network.layers import Resize
from schema.quantities import count_text
from schema.shapes import BRIGHTEST, COLOURS, ImageShape

VISIBLE, VISIBLE_OF_VECTORS = 40, 20
"""Visible units, and those for vectors and up to 10 classes.

40 are those of the preset `mnist`: with 10 classes Q has 50 units (Higham and Bedford, 4.2). On vectors 20
are as accurate, and take fewer qubits; on pixels they are not.
"""

_FURTHER_VISIBLE = 8  # visible units of such a source
_BINS = 4  # of a colour: 64 of a picture
_DROPOUT = 0.2
_FEW_CLASSES = 10
_LARGEST_SIDE = 64  # of what the first layer sees; larger images are averaged over blocks
_LARGEST_SIDE_FURTHER = 32  # the same of pixels that are seen together with a backbone's features
_SIDES = (_LARGEST_SIDE, 48, 32, 28, 16, 8)  # that layers divide well
_LEAST_SIDE = 6  # of what another convolution is worth
_FILTERS = 16
_STEPS = 1_500  # of the optimiser: enough for the preset `digits` on 1,000 images
_VECTOR_STEPS = 600
_FEW_VECTOR_STEPS = 1_800  # few vectors take a stronger decay, which needs more steps
_DECAY_VALUES = 1_280  # of the vectors that the decays were chosen for
# Fewer images are trained on in smaller batches, moved by some pixels, and at last all of them.
_SMALL = 2_000
_FEW_VECTORS = 10_000  # a second training on all of them takes seconds


class Further(StrEnum):
    """A source of a network with backbones: convolutions of the pixels, or a histogram of their colours."""

    PIXELS = "pixels"
    COLOURS = "colours"


_DECAYS = {Further.PIXELS: 0.0, Further.COLOURS: 1.0}


def starter_text(
    images: ImageSet,
    name: str | None = None,
    resize: Resize | None = None,
    backbones: Sequence[BackboneSummary] = (),
    further: Sequence[Further] = (),
) -> str:
    """Return a commented TOML file with an architecture for labelled ``images``; it trains as it is.

    Args:
        images: size, values, classes and number of images are taken from them.
        name: of the network; default: that of the images.
        resize: how the network is to resize pictures of other sizes; None: it takes this size only.
        backbones: pretrained first layers; of several each is a source. Empty: all layers are trained.
        further: sources of a network with backbones that see the picture itself.

    Raises:
        ImageError: the images have no labels, less than two classes, or too many, or a backbone does not take
            them.
        NetworkError: ``name`` is not valid.
    """
    count, shape, classes = len(images.images), images.shape, _classes(images)
    if backbones and not shape.is_colour:
        raise ImageError(
            f"{images.name}: these are {shape.words}, a backbone takes coloured ones: leave out --backbone"
        )
    on_vectors = shape.is_vector or bool(backbones)
    units = VISIBLE_OF_VECTORS if on_vectors and classes <= _FEW_CLASSES else VISIBLE
    lines = [
        f"# A starter for {printable(images.name)}: {count:,} {shape.words}.",
        f"name = {json.dumps(name or _name(images.name))}",
        f"classes = {classes}{_named(images)}",
        "",
        "[input]",
        *(_backbone_input(images.shape, resize, further) if backbones else _input(images, resize)),
        *_features(shape, units, backbones, further),
        "",
        "[training]",
        *(
            _vector_training(count, _values(shape, backbones))
            if on_vectors
            else _image_training(count, shape)
        ),
    ]
    if count < (_FEW_VECTORS if on_vectors else _SMALL):
        lines.append("refit = true  # few images: after the held-out ones were used, train on all of them")
    if images.labels is not None and are_unbalanced(np.bincount(images.labels)):
        lines.append('class_weights = "balanced"  # images of rare classes count more')
    text = "\n".join(lines) + "\n"
    architecture_of(text)  # raises if the file could not be read again
    return text


def _features(
    shape: ImageShape, units: int, backbones: Sequence[BackboneSummary], further: Sequence[Further]
) -> list[str]:
    """Return the lines of the feature layers: of one block, or of a source for each of several."""
    blocks = {_source_name(backbone.name): [_backbone(backbone), _dense(units)] for backbone in backbones}
    for kind in further:
        layers = [_histogram()] if kind is Further.COLOURS else _convolutions(shape, _LARGEST_SIDE_FURTHER)
        blocks[kind.value] = [*layers, _dense(_FURTHER_VISIBLE)]
    if len(blocks) < 2:
        (layers,) = blocks.values() or [[*([] if shape.is_vector else _convolutions(shape)), _dense(units)]]
        return _tables("features", layers)
    lines = ["", "# Each source sees the same picture: see docs/sources.md."]
    for name, layers in blocks.items():
        share = f"dropout = {_DROPOUT}  # share of the pictures without it in training"
        lines += ["", "[[source]]", f"name = {json.dumps(name)}", share]
        if name in further:
            lines.append(f"decay = {_DECAYS[Further(name)]}  # as dense_decay, for this source")
        lines += _tables("source.features", layers)
    return lines


def _tables(table: str, layers: Sequence[Sequence[str]]) -> list[str]:
    return [line for layer in layers for line in ("", f"[[{table}]]", *layer)]


def _dense(units: int) -> list[str]:
    return [
        'kind = "dense"',
        f"units = {units}  # the visible units of Q",
        'activation = "tanh"  # the last one is bounded: tanh or sigmoid',
    ]


def _histogram() -> list[str]:
    return ['kind = "histogram"', f"bins = {_BINS}  # of each colour"]


def _backbone(backbone: BackboneSummary) -> list[str]:
    return [
        f'kind = "backbone"  # {printable(backbone.name)}: resizes pictures to its size, and is not trained',
        f'sha256 = "{backbone.sha256}"',
        f"size = {backbone.size}  # pixels a side",
        f"values = {backbone.features}  # features of a picture",
        f"mean = {list(backbone.scale.mean)}",
        f"std = {list(backbone.scale.std)}",
    ]


def _source_name(name: str) -> str:
    """Return the name of a source for the backbone ``name``.

    >>> _source_name("EfficientNet-Lite0.onnx"), _source_name("0")
    ('efficientnet-lite0-onnx', 'backbone')
    """
    return re.sub(r"^[^a-z]+", "", re.sub(r"[^a-z0-9_-]+", "-", name.lower()))[:32].strip("-") or "backbone"


def _values(shape: ImageShape, backbones: Sequence[BackboneSummary]) -> int:
    """Return the values of a vector; of several backbones those of the largest one."""
    return max((backbone.features for backbone in backbones), default=shape.count)


def _vector_training(count: int, values: int) -> list[str]:
    """Return the lines of the training on ``count`` vectors: small first weights, and wide margins.

    Adam moves all weights alike, so that decay limits each of them: the fewer ``values`` a vector has, the
    larger they must become. docs/images-and-networks.md has the accuracies that decided.
    """
    batch, steps, decay = (16, _FEW_VECTOR_STEPS, 30.0) if count < _SMALL else (64, _VECTOR_STEPS, 10.0)
    decay *= min(values / _DECAY_VALUES, 1.0)
    epochs = epochs_of(steps, batch, count, most=300)
    return [
        f"epochs = {epochs}",
        f"batch_size = {batch}",
        _all_epochs(epochs),
        "learning_rate = 0.003",
        f"dense_decay = {decay:.3g}  # L2 of the first layer",
        "margin = 2.0",
        "lam = 2.0",
        "weight_bound = 2.0",
    ]


def _image_training(count: int, shape: ImageShape) -> list[str]:
    batch = 32 if count < _SMALL else 128
    epochs = epochs_of(_STEPS, batch, count)
    lines = [f"epochs = {epochs}", f"batch_size = {batch}"]
    if count < _SMALL:
        lines.append(_all_epochs(epochs))
        if min(shape.size) // _block(*shape.size) >= 2 * _LEAST_SIDE:
            lines.append("shift = 2  # few images: each is moved by up to this many pixels")
    return lines


def _all_epochs(epochs: int) -> str:
    return f"patience = {epochs}  # all epochs: the few images held out do not tell when to stop"


def epochs_of(steps: int, batch: int, count: int, most: int = 100) -> int:
    """Return the passes over ``count`` images, ``batch`` at a time, that make ``steps``: 6 to ``most``."""
    return min(max(math.ceil(steps * batch / count), 6), most)


def _input(images: ImageSet, resize: Resize | None) -> list[str]:
    """Return the lines of the input; large images are averaged over blocks."""
    if images.shape.is_vector:
        return ['kind = "vector"', f"values = {images.shape.count}"]
    brightest = images.brightest()
    maximum = brightest if 0 < brightest <= 16 else BRIGHTEST
    lines = [*_size(images.shape, resize), f"image_max = {maximum}  # the value of the brightest pixel"]
    return [*lines, *_averaged(images.shape)]


def _backbone_input(shape: ImageShape, resize: Resize | None, further: Sequence[Further]) -> list[str]:
    """Return the lines of the input for backbones, which see pictures as they are."""
    averaged = _averaged(shape, _LARGEST_SIDE_FURTHER) if Further.PIXELS in further else []
    return [*_size(shape, resize or "crop"), *averaged]


def _size(shape: ImageShape, resize: Resize | None) -> list[str]:
    height, width = shape.size
    lines = [f"height = {height}", f"width = {width}"]
    if shape.is_colour:
        lines.append(f"channels = {COLOURS}  # red, green and blue")
    if resize is not None:
        lines.append(f"resize = {json.dumps(resize)}  # pictures of other sizes; also: pad, stretch")
    return lines


def _averaged(shape: ImageShape, largest: int = _LARGEST_SIDE) -> list[str]:
    height, width = shape.size
    block = _block(height, width, largest)
    if block == 1:
        return []
    seen = f"{height // block} x {width // block}"
    return [
        f"average = {block}  # blocks of {block} x {block} pixels are averaged: the layers see {seen}",
    ]


def _convolutions(shape: ImageShape, largest: int = _LARGEST_SIDE) -> list[list[str]]:
    """Return the lines of each convolution and pool, for images of ``shape``; ``largest`` as in `_block`."""
    height, width = shape.size
    block = _block(height, width, largest)
    layers = []
    for index, kernel in enumerate(_kernels(height // block, width // block)):
        layers += [['kind = "conv"', f"filters = {_FILTERS * 2**index}", f"kernel = {kernel}"]]
        layers += [['kind = "max_pool"', "size = 2"]]
    return layers


def starter_side(shortest: int) -> int:
    """Return the side of the square that pictures are cropped to, with this ``shortest`` side, pixels.

    >>> starter_side(500), starter_side(45), starter_side(7)
    (64, 32, 7)
    """
    return next((side for side in _SIDES if side <= shortest), shortest)


def architecture_of(text: str) -> Architecture:
    """Return the architecture in ``text``, which `starter_text` wrote."""
    return Architecture.from_dict(tomllib.loads(text))


def _classes(images: ImageSet) -> int:
    if images.labels is None:
        raise ImageError(
            f"{images.name} has no labels, and a network needs classes: put the images into one folder for "
            "each class, or add --labels FILE"
        )
    classes = int(images.labels.max()) + 1 if images.classes is None else len(images.classes)
    if not 2 <= classes <= MAX_CLASSES:
        raise ImageError(
            f"{images.name} has {count_text(classes, 'class')}; a network has 2 to {MAX_CLASSES}"
        )
    return classes


def _named(images: ImageSet) -> str:
    if images.classes is None:
        return "  # labels 0 to the largest"
    return f"  # {printable(', '.join(images.classes))[:70]}"


def _name(name: str) -> str:
    stem = re.sub(r"\.(npz|npy|csv|zip|gz)\b.*$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64] or "mine"


def _block(height: int, width: int, largest: int = _LARGEST_SIDE) -> int:
    """Return the side of blocks to average: the smallest that leaves at most ``largest`` pixels a side."""
    common = math.gcd(height, width)
    blocks = [block for block in range(1, min(common, 64) + 1) if common % block == 0]
    return next((b for b in blocks if max(height, width) // b <= largest), blocks[-1])


def _kernels(height: int, width: int) -> list[int]:
    """Return the kernel of each convolution, each followed by pooling, until little is left."""
    kernels: list[int] = []
    while (side := min(height, width)) >= _LEAST_SIDE and len(kernels) < 4:
        kernel = 5 if side >= 2 * _LEAST_SIDE else 3
        kernels.append(kernel)
        height, width = (height - kernel + 1) // 2, (width - kernel + 1) // 2
    return kernels
