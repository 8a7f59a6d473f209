"""Folders of pictures: classes, formats, colours, and other files in a folder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer.images.in_pieces import open_pieces
from producer.images.pictures import picture
from producer.images.pieces import gathering
from producer.images.preprocessing import Preprocessing
from producer.images.source import read_images
from schema.errors import ImageError

GREY = np.random.default_rng(3).integers(0, 256, (6, 5), np.uint8)


def save(path: Path, image: np.ndarray = GREY, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def test_class_folders(tmp_path: Path) -> None:
    for value, name in enumerate(["dog/b.png", "dog/a.png", "cat/z.png"]):
        save(tmp_path / name, np.full((2, 3), value, np.uint8))
    found = read_images(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.sources == ("cat/z.png", "dog/a.png", "dog/b.png")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.images[:, 0, 0].tolist() == [2, 1, 0]


def test_numbered_class_folders_are_sorted_by_value(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        save(tmp_path / name / "a.png")
    assert read_images(tmp_path).classes == ("2", "9", "10")
    save(tmp_path / "1x" / "a.png")
    assert read_images(tmp_path).classes == ("10", "1x", "2", "9")


def test_class_folders_are_read_from_any_row_on(tmp_path: Path) -> None:
    for value, name in enumerate(["a/0.png", "a/1.png", "b/0.png", "c/0.png"]):
        save(tmp_path / name, np.full((2, 3), value, np.uint8))
    opened = open_pieces(tmp_path)
    assert opened is not None
    pieces, _ = opened
    assert [(Path(shard.path).name, shard.first) for shard in pieces.shards] == [("a", 0), ("b", 2), ("c", 3)]
    for first in range(5):
        found = list(pieces.read(first))
        rows = [row for piece in found for row in piece.rows.tolist()]
        assert rows == list(range(first, 4))
        assert [image[0, 0] for piece in found for image in piece.images] == rows
        labels = [piece.labels for piece in found if piece.labels is not None]
        assert [label for each in labels for label in each] == [0, 0, 1, 2][first:]
        assert [piece.shard for piece in found for _ in piece.rows] == [0, 0, 1, 2][first:]


def test_a_flat_folder_is_unlabelled_and_sorted(tmp_path: Path) -> None:
    for value, name in enumerate(["c.png", "a.png", "b.png"]):
        save(tmp_path / name, np.full((2, 2), value, np.uint8))
    (tmp_path / "empty").mkdir()
    found = read_images(tmp_path)
    assert (found.labels, found.classes, found.sources) == (None, None, ("a.png", "b.png", "c.png"))
    assert found.images[:, 0, 0].tolist() == [1, 2, 0]


def test_a_flat_folder_takes_labels_and_class_folders_do_not(tmp_path: Path) -> None:
    save(tmp_path / "flat" / "a.png")
    save(tmp_path / "classes" / "x" / "a.png")
    (tmp_path / "l.txt").write_text("3\n")
    assert read_images(tmp_path / "flat", tmp_path / "l.txt").labels.tolist() == [3]
    with pytest.raises(ImageError, match=r"classes takes its labels from its folders: leave .*l\.txt out"):
        read_images(tmp_path / "classes", tmp_path / "l.txt")


def test_litter_is_ignored(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "._a.png", ".hidden.png", "png"):
        (tmp_path / "0" / name).write_bytes(b"rubbish")
        (tmp_path / name).write_bytes(b"rubbish")
    for name in (".git", "__MACOSX", "@eaDir"):
        save(tmp_path / name / "b.png", GREY[:2])
    assert read_images(tmp_path).sources == ("0/a.png",)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "pgm", "tif", "tiff", "PNG", "webp"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_images(tmp_path).images[0], GREY)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg(tmp_path: Path, suffix: str) -> None:
    image = np.repeat(np.arange(0, 256, 16, np.uint8)[:, None], 16, axis=1)
    save(tmp_path / f"a.{suffix}", image, quality=95)
    assert np.abs(read_images(tmp_path).images[0].astype(int) - image).max() <= 4


def test_colours_become_grey_by_bt_601(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8))
    grey = read_images(tmp_path, preprocessing=Preprocessing(colour=False))
    assert grey.images.tolist() == [[[76, 150, 29, 9]]]


def test_palettes_and_two_levels(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_images(tmp_path).images[0], GREY)
    Image.fromarray(GREY > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_images(tmp_path).images[0], np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled(tmp_path: Path, suffix: str) -> None:
    wide = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    save(tmp_path / f"a.{suffix}", wide)
    assert read_images(tmp_path).images.tolist() == [[[0, 0, 1, 1, 128, 255]]]


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path: Path) -> None:
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    save(tmp_path / "a.png", rgba)
    np.testing.assert_array_equal(read_images(tmp_path).images[0], GREY)
    rgba[1, 1, 3] = 254
    save(tmp_path / "a.png", rgba)
    with pytest.raises(ImageError, match=r"a\.png is partly transparent: flatten it"):
        read_images(tmp_path)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_of_32_bits_are_refused(tmp_path: Path, dtype: type) -> None:
    save(tmp_path / "a.tif", GREY.astype(dtype))
    with pytest.raises(ImageError, match=r"a\.tif has values of mode '[IF]': save it as 8-bit"):
        read_images(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "tif", "png"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (1, 90)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="has several frames"):
        read_images(tmp_path)


def test_sizes_that_differ_name_both_files(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    save(tmp_path / "c.png", GREY[:4])
    with pytest.raises(
        ImageError, match=r"different sizes \(\S+a\.png is 6 x 5, \S+c\.png is 4 x 5\): scale"
    ):
        read_images(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"P5 2 2"]
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "pgm", "webp"])
def test_unreadable_pictures_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    save(tmp_path / "a.png")
    (tmp_path / f"b.{suffix}").write_bytes(content)
    with pytest.raises(ImageError, match=rf"b\.{suffix} is damaged.*remove it or save it again"):
        read_images(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "pgm", "tif"])
def test_truncated_pictures_are_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ImageError, match=rf"a\.{suffix} is damaged"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0\0\0\x0cjP  \r\n\x87\n"]
)
def test_other_formats_in_disguise_stay_closed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png is damaged or not a PNG"):
        read_images(tmp_path)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height"), [(4097, 4096), (10_000, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)]
)
def test_decompression_bombs(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of(width, height))
    with pytest.raises(ImageError, match=r"bomb\.png (has|is) .*16,777,216"):
        read_images(tmp_path)


def test_more_pictures_than_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png")
    monkeypatch.setattr(gathering, "MAX_IMAGES", 2)
    with pytest.raises(ImageError, match="has 3 rows, 90 bytes, more than 2 "):
        read_images(tmp_path)
    monkeypatch.setattr(gathering, "MAX_IMAGES", 3)
    monkeypatch.setattr(gathering, "MAX_BYTES", 89)
    with pytest.raises(ImageError, match="more than 3 or 89 bytes"):
        read_images(tmp_path)


def test_a_picture_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    monkeypatch.setattr(picture, "MAX_PIXELS", 30)
    assert read_images(tmp_path).images.shape == (1, 6, 5)
    monkeypatch.setattr(picture, "MAX_PIXELS", 29)
    with pytest.raises(ImageError, match="has 6 x 5 pixels, more than 29"):
        read_images(tmp_path)


# the folders themselves


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"has no pictures \(\.bmp, .*\.webp\) in it or its folders$"):
        read_images(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "0").mkdir()
    with pytest.raises(ImageError, match="has no pictures"):
        read_images(tmp_path)


def test_folders_one_level_too_deep_are_pointed_at(tmp_path: Path) -> None:
    save(tmp_path / "train" / "0" / "a.png")
    with pytest.raises(ImageError, match=r"did you mean \S+/train\?$"):
        read_images(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png")
    (tmp_path / "1").mkdir()
    with pytest.raises(ImageError, match="/1 is a class folder without pictures"):
        read_images(tmp_path)


def test_pictures_beside_class_folders_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "0" / "b.png")
    with pytest.raises(ImageError, match="pictures both in itself and in 0"):
        read_images(tmp_path)


def test_links_in_a_circle_and_to_nowhere(tmp_path: Path) -> None:
    save(tmp_path / "0" / "a.png")
    (tmp_path / "0" / "up").symlink_to(tmp_path)
    assert read_images(tmp_path).sources == ("0/a.png",)

    (tmp_path / "0" / "b.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match=r"b\.png does not exist"):
        read_images(tmp_path)
    (tmp_path / "0" / "b.png").unlink()

    (tmp_path / "0" / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match=r"loop\.png cannot be read"):
        read_images(tmp_path)


def test_names_that_are_no_text_are_made_printable(tmp_path: Path) -> None:
    try:
        save(tmp_path / "a\udc80\x1b.png", format="PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert read_images(tmp_path).sources == ("a\ufffd\ufffd.png",)


def test_a_split_is_a_folder_of_class_folders(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"):
        save(tmp_path / name)
    read = read_images(f"{tmp_path}:train")
    assert (read.sources, read.classes) == (("cat/a.png", "dog/b.png"), ("cat", "dog"))
    assert read.name == f"{tmp_path.name}:train"
    for part in ("x", "..", "train/cat", "."):
        with pytest.raises(ImageError, match=r"has no folder called .*: choose one of .*:test, .*:train"):
            read_images(tmp_path, part=part)
    (tmp_path / "away").symlink_to(tmp_path.parent)
    with pytest.raises(ImageError, match="is a symbolic link out of"):
        read_images(f"{tmp_path}:train")
