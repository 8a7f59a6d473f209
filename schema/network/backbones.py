"""What both sides know of backbones: limits of a file, sizes of pictures, scales of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schema.errors import BackboneError
from schema.shapes import BACKBONE_SIZES, COLOURS

MAX_FILE_BYTES = 64_000_000
USUAL_SIZE = 128

EXPORT = (
    "export it from torch with torch.onnx.export(model.eval(), (torch.zeros(2, 3, 224, 224),), "
    '"model.onnx", dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))'
)


@dataclass(frozen=True)
class PixelScale:
    """How a pixel p, 0 to 255, becomes what a backbone takes: (p - mean) / std, by channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def parse(cls, text: str) -> PixelScale:
        """Read ``text``: a name of `SCALES`, MEAN,STD, or three means and three standard deviations.

        Raises:
            BackboneError: it is none of them, or a value is out of range.
        """
        if text in SCALES:
            return SCALES[text]
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 2:
            numbers = [numbers[0]] * COLOURS + [numbers[1]] * COLOURS
        if len(numbers) != 2 * COLOURS:
            raise BackboneError(
                f"scale {text!r:.80} is not known: use {', '.join(SCALES)}, or MEAN,STD of pixels 0 to 255, "
                "as in 127,128, or three means and three standard deviations"
            )
        return cls.from_lists(numbers[:COLOURS], numbers[COLOURS:])

    @classmethod
    def from_lists(cls, mean: Any, std: Any) -> PixelScale:
        """Return the scale with ``mean`` and ``std``, three numbers each.

        Raises:
            BackboneError: they are not, or a value is out of range.
        """
        m, s = tuple(map(float, mean)), tuple(map(float, std))
        if len(m) != COLOURS or len(s) != COLOURS:
            raise BackboneError(f"a scale has {COLOURS} means and {COLOURS} standard deviations")
        if not all(-1000.0 <= each <= 1000.0 for each in m) or not all(0.001 <= each <= 1000.0 for each in s):
            raise BackboneError(
                f"scale {m}, {s} is out of range: means are -1000 to 1000, standard deviations 0.001 to 1000"
            )
        return cls((m[0], m[1], m[2]), (s[0], s[1], s[2]))

    def __str__(self) -> str:
        for name, scale in SCALES.items():
            if scale == self:
                return name
        if len(set(self.mean)) == len(set(self.std)) == 1:
            return f"(p - {self.mean[0]:g}) / {self.std[0]:g}"
        mean, std = (", ".join(f"{each:g}" for each in part) for part in (self.mean, self.std))
        return f"(p - ({mean})) / ({std})"


# ImageNet's means and standard deviations are those of torchvision's models, times 255.
SCALES = {
    "imagenet": PixelScale((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "unit": PixelScale((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "signed": PixelScale((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}
USUAL_SCALE = "imagenet"


def check_size(size: int) -> int:
    """Return ``size``; raise BackboneError if no backbone has it."""
    if size not in BACKBONE_SIZES:
        raise BackboneError(f"size {size} is not possible: use {', '.join(map(str, BACKBONE_SIZES))} pixels")
    return size
