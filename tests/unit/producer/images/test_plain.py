"""Plain PNG and JPEG files are decoded without opening them, and as Pillow decodes those that it opens."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from producer.images.pictures.picture import decode
from producer.images.pictures.plain import MAX_PLAIN_BYTES, MAX_PLAIN_PIXELS, plain_header
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import Preprocessing
from schema.errors import ImageError

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (9, 14, 3), np.uint8)
GREY = COLOUR[..., 0]


def saved(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> tuple[str, bytes]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.mode, picture.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, colour: int = 2, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def rows(height: int, width: int) -> bytes:
    return zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height)))


@pytest.mark.parametrize("image", [COLOUR, GREY, COLOUR[:1, :1]], ids=["colour", "grey", "one pixel"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("PNG", {"compress_level": 0, "dpi": (72, 72)}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "quality": 30}),
        ("JPEG", {"subsampling": 0, "restart_marker_blocks": 1}),
        ("JPEG", {"keep_rgb": True}),
    ],
)
def test_plain_pictures_have_the_pixels_of_pillow(
    image: np.ndarray, kind: str, options: dict[str, Any]
) -> None:
    data = saved(image, kind, **options)
    header = plain_header(data)
    assert header is not None
    picture = header.decode()
    assert picture is not None
    assert (picture.mode, picture.tobytes()) == opened(data)
    np.testing.assert_array_equal(decode(io.BytesIO(data), "a"), np.asarray(picture))


def text() -> PngImagePlugin.PngInfo:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("a", "b")
    return notes


TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(COLOUR).convert("P")),
        saved(np.dstack([COLOUR, GREY])),
        saved(GREY.astype(np.uint16) * 257),
        saved(COLOUR, transparency=(0, 0, 0)),
        saved(COLOUR, exif=TURNED),
        saved(COLOUR, "JPEG", exif=TURNED),
        saved(COLOUR, pnginfo=text()),
        saved(COLOUR, save_all=True, append_images=[Image.fromarray(255 - COLOUR)]),
        saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
        saved(COLOUR, "JPEG", comment=b"a"),
        saved(COLOUR, "MPO", save_all=True, append_images=[Image.fromarray(COLOUR)]),
        saved(COLOUR, "WEBP"),
        png(2, 2, chunk(b"IDAT", rows(2, 2)), interlaced=1),
        png(2, 2, chunk(b"gAMA", b"ab"), chunk(b"IDAT", rows(2, 2))),
        png(2, 2, chunk(b"IDAT", rows(2, 2)), chunk(b"gAMA", b"abcd"), chunk(b"IDAT", b"")),
        png(2, 2, chunk(b"IHDR", bytes(13)), chunk(b"IDAT", rows(2, 2))),
        png(2, 2, chunk(b"IDAT", rows(2, 2)))[:-1],
        png(2, 2, chunk(b"IDAT", rows(2, 2))) + b"\0",
        saved(COLOUR)[:40] + b"\0" + saved(COLOUR)[41:],
        b"\xff\xd8\xff",
        b"",
    ],
)
def test_other_pictures_are_opened_by_pillow(data: bytes) -> None:
    assert plain_header(data) is None


@pytest.mark.parametrize(
    ("width", "height"),
    [(2**31 - 1, 2**31 - 1), (0, 5), (MAX_PLAIN_PIXELS + 1, 1), (1, MAX_PLAIN_PIXELS + 1)],
)
def test_sizes_that_are_not_allocated(width: int, height: int) -> None:
    assert plain_header(png(width, height, chunk(b"IDAT", rows(1, 1)))) is None
    assert plain_header(png(2, 2, chunk(b"IDAT", rows(2, 2) + bytes(MAX_PLAIN_BYTES)))) is None


@pytest.mark.parametrize("packed", [zlib.compress(bytes(50_000_000), 9), rows(1, 2)], ids=["bomb", "one row"])
def test_pixel_data_of_more_or_fewer_rows_than_announced(packed: bytes) -> None:
    data = png(2, 2, chunk(b"IDAT", packed))
    header = plain_header(data)
    assert header is not None
    picture = header.decode()  # reads two rows at most
    assert picture is not None
    assert (picture.mode, picture.tobytes()) == opened(data)


@pytest.mark.parametrize("packed", [b"", rows(2, 2)[:-8], b"no zlib data"])
def test_damaged_pixels_are_refused_as_pillow_refuses_them(packed: bytes) -> None:
    data = png(2, 2, chunk(b"IDAT", packed))
    header = plain_header(data)
    assert header is not None
    assert header.decode() is None
    with pytest.raises(ImageError, match=r"a is (damaged|partly)"):
        decode(io.BytesIO(data), "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_is_accepted_of_damaged_files_is_what_pillow_reads(kind: str) -> None:
    good = saved(COLOUR, kind)
    rng = np.random.default_rng(1)
    accepted = refused = 0
    for _ in range(400):
        data = bytearray(good)
        for place in rng.integers(2, len(good), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        header = plain_header(bytes(data))
        picture = None if header is None else header.decode()
        if picture is None:
            refused += 1
        else:
            accepted += 1
            assert (picture.mode, picture.tobytes()) == opened(bytes(data))
    assert refused > 20
    assert accepted > 20 or kind == "PNG"  # checksums refuse all damage of PNG


def test_a_jpeg_that_is_scaled_down_is_decoded_at_a_fraction_of_its_size() -> None:
    large = saved(np.repeat(np.repeat(COLOUR, 20, 0), 20, 1), "JPEG")
    small = Preprocessing(size=(9, 9))
    exact = decode(io.BytesIO(large), "a", Preprocessing(size=(9, 9), exact=True))
    reduced = decode(io.BytesIO(large), "a", small)
    assert exact.shape == reduced.shape == (9, 9, 3)
    assert (exact != reduced).any()


def test_pixels_of_plain_pictures_count_as_those_of_others() -> None:
    allowance = Allowance(max_pixels=2 * GREY.size)
    for _ in range(2):
        decode(io.BytesIO(saved(GREY)), "a", allowance=allowance)
    with pytest.raises(ImageError, match=r"a: with it, 3 pictures of 378 pixels; a request may have 252"):
        decode(io.BytesIO(saved(GREY)), "a", allowance=allowance)
