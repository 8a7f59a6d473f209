"""Photographs as they are: turned, resized, inverted, in archives; and what is said about it."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from producer.images import limits
from producer.images.archives import zipped as archive
from producer.images.pictures import picture
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import Fit, Preprocessing, parse_size
from producer.images.source import read_images
from schema.errors import ImageError, ParameterError
from tests.conftest import data_file

RNG = np.random.default_rng(5)
PHOTO = RNG.integers(0, 256, (9, 16, 3), np.uint8)


def jpeg(image: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_pictures_are_turned_as_pillow_does(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PHOTO).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    found = read_images(tmp_path)
    np.testing.assert_array_equal(found.images[0], np.array(upright))
    assert found.images.shape[1:] == ((9, 16, 3) if orientation < 5 else (16, 9, 3))
    grey = read_images(tmp_path, preprocessing=Preprocessing(colour=False))
    np.testing.assert_array_equal(grey.images[0], np.array(upright.convert("L")))
    assert grey.notes[0] == "1 turned from colour to grey"


def test_a_set_is_coloured_if_one_picture_is(tmp_path: Path) -> None:
    Image.fromarray(PHOTO[..., 0]).save(tmp_path / "a.png")
    Image.fromarray(PHOTO[..., [0, 0, 0]]).save(tmp_path / "b.png")  # stored as colour, and grey
    grey = read_images(tmp_path)
    assert (grey.images.shape, grey.notes) == ((2, 9, 16), ())
    Image.fromarray(PHOTO).save(tmp_path / "c.png")
    for names in (("c", "b", "a"), ("a", "b", "c")):
        found = read_images(packed(tmp_path, names))
        assert found.notes == ("1 repeated from grey to red, green and blue",)
        images = dict(zip(names, found.images, strict=True))
        np.testing.assert_array_equal(images["c"], PHOTO)
        for name in "ab":
            np.testing.assert_array_equal(images[name], PHOTO[..., [0, 0, 0]])


def packed(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for place, name in enumerate(names):
            archive.write(folder / f"{name}.png", f"{place}.png")
    return path


@pytest.mark.parametrize("fit", Fit)
def test_colours_are_resized_channel_by_channel(tmp_path: Path, fit: Fit) -> None:
    np.save(tmp_path / "a.npy", PHOTO[None])
    size = Preprocessing((6, 6), fit)
    found = read_images(tmp_path / "a.npy", preprocessing=size).images
    for channel in range(3):
        np.save(tmp_path / "b.npy", PHOTO[None, ..., channel])
        alone = read_images(tmp_path / "b.npy", preprocessing=size).images
        np.testing.assert_array_equal(found[..., channel], alone)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (3, 7), (1, 500)])
def test_sizes_and_what_is_cut_padded_or_distorted(tmp_path: Path, fit: Fit, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.full((2, *shape), 200, np.uint8))
    found = read_images(tmp_path / "a.npy", preprocessing=Preprocessing((12, 18), fit)).images
    assert found.shape == (2, 12, 18)
    rows, columns = (found[0] == 200).any(axis=1).sum(), (found[0] == 200).any(axis=0).sum()
    scale = min(12 / shape[0], 18 / shape[1])
    whole = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    assert (rows, columns) == (whole if fit is Fit.PAD else (12, 18))
    assert set(np.unique(found)) <= {0, 200}


def test_crop_takes_the_middle_and_stretch_all(tmp_path: Path) -> None:
    image = np.zeros((30, 90), np.uint8)
    image[:, 30:60] = 255
    np.save(tmp_path / "a.npy", image[None])
    crop, stretch = (
        read_images(tmp_path / "a.npy", preprocessing=Preprocessing((30, 30), fit)).images[0]
        for fit in (Fit.CROP, Fit.STRETCH)
    )
    assert crop.min() == 255
    assert (stretch > 127).mean() == pytest.approx(1 / 3)


def test_inverting_comes_before_padding(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((1, 4, 8), 255, np.uint8))
    wanted = Preprocessing((8, 8), Fit.PAD, invert=True)
    assert read_images(tmp_path / "a.npy", preprocessing=wanted).images.max() == 0


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smooth = np.outer(np.linspace(0, 255, 600), np.ones(800)).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg(smooth))
    whole = read_images(tmp_path, preprocessing=Preprocessing((20, 20))).images[0]
    monkeypatch.setattr(picture, "MAX_PIXELS", 120_000)  # of 480,000
    reduced = read_images(tmp_path, preprocessing=Preprocessing((20, 20))).images[0]
    assert np.abs(whole.astype(int) - reduced).max() <= 3
    with pytest.raises(ImageError, match="600 x 800 pixels, more than 120,000"):
        read_images(tmp_path)
    monkeypatch.setattr(picture, "MAX_REDUCIBLE_PIXELS", 480_000 - 1)
    with pytest.raises(ImageError, match="more than 120,000"):
        read_images(tmp_path, preprocessing=Preprocessing((20, 20)))


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_measured_before_pillow_allocates_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossless: bool
) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.webp", lossless=lossless)
    assert read_images(tmp_path).images.shape == (1, 9, 16, 3)
    monkeypatch.setattr(picture, "MAX_PIXELS", 143)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="has 9 x 16 pixels, more than 143"):
        read_images(tmp_path)


@pytest.mark.parametrize(("text", "size"), [("28", (28, 28)), ("28x32", (28, 32)), ("1X512", (1, 512))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "513", "28x", "x28", "-3", "28x28x3", "2.5", "28 x 28", "9" * 30])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="give HEIGHT or HEIGHTxWIDTH"):
        parse_size(text)
    with pytest.raises(ParameterError, match="add --resize"):
        Preprocessing.parse(None, Fit.PAD, invert=False, skip_unreadable=False)


# notes


def test_what_was_changed_or_left_out_is_counted(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name / "deeper").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "cat" / "a.jpg").write_bytes(jpeg(PHOTO, exif=exif))
    Image.fromarray(PHOTO[..., 0]).save(tmp_path / "cat" / "b.webp", lossless=True)
    Image.fromarray(PHOTO[..., 0].astype(np.uint16)).save(tmp_path / "dog" / "c.png")
    Image.fromarray(PHOTO[:8, :8]).save(tmp_path / "dog" / "d.png")
    (tmp_path / "dog" / "e.png").write_bytes(b"rubbish")
    (tmp_path / "dog" / "f.heic").write_bytes(b"")
    (tmp_path / "labels.txt").write_text("1")
    found = read_images(tmp_path, preprocessing=Preprocessing((8, 8), skip_unreadable=True, invert=True))
    assert found.sources == ("cat/a.jpg", "cat/b.webp", "dog/c.png", "dog/d.png")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert set(found.notes) == {
        "1 repeated from grey to red, green and blue",
        "1 turned upright by EXIF",
        "1 reduced from 16 to 8 bits",
        "4 inverted",
        "3 resized to 8 x 8 (crop)",
        "4 left out, as no pictures (labels.txt, cat/deeper, dog/f.heic, ...)",
        "1 left out, as unreadable (dog/e.png)",
    }
    with pytest.raises(ImageError, match=r"e\.png is damaged.*--skip-unreadable leaves such files out"):
        read_images(tmp_path, preprocessing=Preprocessing((8, 8)))


def test_what_pillow_drops_is_said(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([200, 1, 100, 2, 50, 3]) * 4) * 2
    wide = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0))
    wide += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(wide)
    read = read_images(tmp_path / "a.png")
    assert (read.images[0, 0, 0].tolist(), read.notes) == (
        [200, 100, 50],
        ("1 cut from 16 to 8 bits a colour, the lower ones dropped",),
    )
    Image.fromarray(PHOTO).convert("CMYK").save(tmp_path / "b.jpg", quality=95)
    assert read_images(tmp_path / "b.jpg").notes == ("1 converted from CMYK without its colour profile",)


def test_exif_turns_pictures_before_their_sizes_are_compared(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(jpeg(PHOTO, exif=exif))
    (tmp_path / "b.jpg").write_bytes(jpeg(PHOTO.transpose(1, 0, 2)))
    (tmp_path / "c.webp").write_bytes(b"")
    Image.fromarray(PHOTO.transpose(1, 0, 2)).save(tmp_path / "c.webp", lossless=True)
    assert read_images(tmp_path).images.shape == (3, 16, 9, 3)


def test_a_grey_jpeg_saved_as_rgb_was_not_coloured(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(np.repeat(PHOTO[..., :1], 3, axis=2)))
    assert read_images(tmp_path).notes == ()


def test_labels_of_another_name_are_taken_and_named(tmp_path: Path) -> None:
    images = PHOTO[None, ..., 0].repeat(3, axis=0)
    np.savez(tmp_path / "a.npz", images=images, target=[2, 0, 1])
    found = read_images(tmp_path / "a.npz")
    assert (found.labels.tolist(), found.notes) == ([2, 0, 1], ("labels are those of 'target'",))
    np.savez(tmp_path / "a.npz", train_images=images, train_y=[2, 0, 1], test_images=images, test_y=[1, 1, 1])
    assert read_images(f"{tmp_path}/a.npz:train").labels.tolist() == [2, 0, 1]
    (tmp_path / "a.csv").write_text("p0,p1,p2,p3,Class\n1,2,3,4,1\n5,6,7,8,0\n")
    found = read_images(tmp_path / "a.csv")
    assert (found.labels.tolist(), found.notes) == ([1, 0], ("labels are those of column 'class'",))
    (tmp_path / "a.csv").write_text("0,2,3,4,1\n0,6,7,8,0\n")
    (note,) = read_images(tmp_path / "a.csv").notes
    assert "first column, which is 0 in every line" in note


# archives


def zipped(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_an_archive_is_read_as_its_folder_is(tmp_path: Path) -> None:
    members = {
        f"{name}/{k}.jpg": jpeg(RNG.integers(0, 256, (8, 9, 3), np.uint8)) for name in "ba" for k in "10"
    }
    for name, content in members.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    folder = read_images(tmp_path / "set")
    for prefix in ("", "set/"):
        litter = {f"__MACOSX/{prefix}a/._0.jpg": b"x", f"{prefix}.DS_Store": b"x"}
        path = zipped(tmp_path / "set.zip", {prefix + name: data for name, data in members.items()} | litter)
        found = read_images(path)
        np.testing.assert_array_equal(found.images, folder.images)
        assert (found.sources, found.classes, found.labels.tolist()) == (
            *(folder.sources, folder.classes),
            folder.labels.tolist(),
        )
    assert read_images(zipped(tmp_path / "flat.zip", {"flat/a.jpg": members["a/0.jpg"]})).labels is None


def test_an_archive_of_photographs() -> None:
    path = data_file("clothing_folders.zip")
    read = read_images(path, preprocessing=Preprocessing((32, 32)))
    classes = (
        "dress",
        "hat",
        "longsleeve",
        "outwear",
        "pants",
        "shirt",
        "shoes",
        "shorts",
        "skirt",
        "t-shirt",
    )
    assert read.classes == classes
    assert read.images.shape == (320, 32, 32, 3)
    assert read.labels is not None
    assert read.sources is not None
    assert np.bincount(read.labels).tolist() == [32] * 10
    assert [read.classes[label] for label in read.labels] == [name.split("/")[0] for name in read.sources]


def test_hostile_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = jpeg(PHOTO)
    for name in ("../../x/a.jpg", "/y/b.jpg", "x/../../a.jpg", "x\\..\\a.jpg"):
        with pytest.raises(ImageError, match="is not the name of a file inside of an archive"):
            read_images(zipped(tmp_path / "a.zip", {name: good}))
    with pytest.raises(ImageError, match="unknown compression: unpack the archive"):
        read_images(zipped(tmp_path / "b.zip", {"x/a.jpg": good}, zipfile.ZIP_LZMA))
    lying = bytearray(zipped(tmp_path / "c.zip", {"x/a.jpg": bytes(10_000_000)}).read_bytes())
    place = lying.rindex(b"PK\1\2") + 24  # the announced size, in the central directory
    lying[place : place + 4] = (100).to_bytes(4, "little")
    (tmp_path / "c.zip").write_bytes(lying)
    with pytest.raises(ImageError, match=r"c\.zip"):
        read_images(tmp_path / "c.zip")
    (tmp_path / "d.zip").write_bytes(zipped(tmp_path / "d.zip", {"x/a.jpg": good}).read_bytes()[:-30])
    with pytest.raises(ImageError, match="not an intact zip archive"):
        read_images(tmp_path / "d.zip")
    path = zipped(tmp_path / "e.zip", {"x/a.jpg": good, "x/b.jpg": good})
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", len(good) - 1)
    with pytest.raises(ImageError, match=r"more than .* scale it down"):
        read_images(path)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 1)
    with pytest.raises(ImageError, match="has 2 members, more than 1: split it"):
        read_images(path)
    assert limits.MAX_MEMBER_BYTES < limits.MAX_BYTES


def test_links_duplicates_and_bytes_in_all_of_an_archive(tmp_path: Path) -> None:
    good = jpeg(PHOTO)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("x/a.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ImageError, match=r"x/a\.jpg is a link: archive the folder again"):
        read_images(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("x/a.jpg", good)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("x/a.jpg", good)
    with pytest.raises(ImageError, match=r"x/a\.jpg is there twice"):
        read_images(tmp_path / "b.zip")
    many = zipped(tmp_path / "c.zip", {f"x/{k}.jpg": bytes(1_000_000) for k in range(3)})
    with pytest.raises(ImageError, match=r"c\.zip: unpacks to more than 2 MB"):
        read_images(many, allowance=Allowance(2_000_000))


def test_a_split_of_an_archive(tmp_path: Path) -> None:
    names = [f"set/{split}/{name}/a.jpg" for split in ("train", "test") for name in "ba"]
    path = zipped(tmp_path / "a.zip", dict.fromkeys(names, jpeg(PHOTO)))
    assert read_images(f"{path}:train").sources == ("a/a.jpg", "b/a.jpg")
    with pytest.raises(ImageError, match=r"choose one of .*a\.zip:test, .*a\.zip:train"):
        read_images(path)


# refusals that lead on

REFUSED = {
    "a.pt": "is a pickle, which can run code and is never read: .*numpy.savez",
    "a.pkl": "is a pickle",
    "a.tar.xz": "unpack it, and give the folder: `tar -xf a.tar.xz`",
    "a.tfrecord-00000-of-00010": "load it with the library .* `datasets`, then data.to_parquet",
    "data.mdb": "data.to_parquet",
    "instances_val.json": "as COCO has its notes: .* class folders, .*to_parquet",
    "a.keras": "load its arrays, then numpy.savez",
    "a.h5": "load its arrays, then numpy.savez",
    "a.heic": "convert it to PNG, JPEG or WebP",
    "a.mp4": "`ffmpeg -i a.mp4 %06d.png`",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_formats_are_refused_with_the_way_to_a_known_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ImageError, match=REFUSED[name]):
        read_images(tmp_path / name)


def test_folders_of_other_formats_are_refused(tmp_path: Path) -> None:
    for name, message in (
        ("a/data.mdb", "data.mdb is of a format that is not read: .*to_parquet"),
        ("b/train.tfrecord-00000-of-00002", "is of a format that is not read"),
        ("c/annotations/instances_val2017.json", "instances_val2017.json is of COCO: .*class folders"),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ImageError, match=message):
            read_images(tmp_path / name[0])


def test_flattened_rows_are_refused_with_their_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((10, 784), np.uint8))
    with pytest.raises(
        ImageError, match=r"10 flattened ones: save array\.reshape\(-1, 28, 28\), or say which by --as"
    ):
        read_images(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 784), np.uint8), labels=np.zeros(10, int))
    with pytest.raises(ImageError, match=r"10 labels .* by reshape\(-1, 28, 28\)"):
        read_images(tmp_path / "a.npz")


def test_labels_that_are_text_are_refused_with_the_way_to_numbers(tmp_path: Path) -> None:
    images = PHOTO[None, ..., 0].repeat(2, axis=0)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(["cat", "dog"]))
    with pytest.raises(ImageError, match=r"text: number .*numpy\.unique\(labels, return_inverse=True\)"):
        read_images(tmp_path / "a.npz")
    np.save(tmp_path / "i.npy", images)
    (tmp_path / "l.csv").write_text("label\ncat\ndog\n")
    with pytest.raises(ImageError, match="'cat' in line 2, column 1: give a number"):
        read_images(tmp_path / "i.npy", tmp_path / "l.csv")


def test_a_folder_of_one_file_of_arrays_names_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", images=PHOTO[None, ..., 0])
    with pytest.raises(ImageError, match=r"has no pictures .*; did you mean \S+/mnist\.npz\?"):
        read_images(tmp_path)
