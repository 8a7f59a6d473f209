"""A `uri` reads files below the operator's folders and no others, whatever names, parts and links exist."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from producer.api.load.memory import MemoryBudget
from producer.api.routes.submissions import options, uploads
from producer.api.routes.submissions.options import RunBodyOptions
from schema.errors import ImageError, RequestRefused
from schema.settings import ApiSettings, load_api

TAKE = MemoryBudget("images", 10**9).take
ALLOWED = uploads.allowance(load_api(), TAKE)
INSIDE, OUTSIDE = 7, 200  # the value of every pixel
NAMES = ("a.npz", "b.npz", "a.npz:images", "b.NPZ:images", "a.npz:b.npz", "t10k-images-idx3-ubyte", "folder")
TARGETS = (
    "../secret.npz",
    "../secret.npz:images",
    "../secret",
    "a.npz",
    "..",
    ".",
    "missing",
    "../open/b.npz",
)
PARTS = (None, "images", "images:", "../images", "b.npz", "")

links = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TARGETS), max_size=4)
paths = st.lists(st.sampled_from((*NAMES, "..", ".", "secret.npz", "open")), min_size=1, max_size=4)


def write(path: Path, pixel: int) -> None:
    with path.open("wb") as file:
        np.savez(file, images=np.full((2, 8, 8), pixel, np.uint8))


@contextmanager
def folders(links: dict[str, str]) -> Iterator[tuple[Path, ApiSettings]]:
    """Create a folder that may be read, with ``links`` and files, next to files that may not be."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "open").mkdir()
        (root / "secret").mkdir()
        for path in ("secret.npz", "secret.npz:images", "secret/a.npz"):
            write(root / path, OUTSIDE)
        for link, target in links.items():
            (root / "open" / link).symlink_to(target)
        for link in set(NAMES) - set(links) - {"folder", "a.npz:images"}:
            write(root / "open" / link, INSIDE)
        yield root / "open", load_api(folders=[root / "open"])


def any_network(_labelled: bool) -> None:
    """No network is known that takes the images."""


def body(part: str | None) -> RunBodyOptions:
    return options.from_form([] if not part else [("part", part)])


@given(
    links, paths, st.sampled_from(PARTS), st.sampled_from(("", ":", ":images", ":../images")), st.booleans()
)
@example({"a.npz": "../secret.npz"}, ["a.npz"], None, ":images", False)
@example({"a.npz": "../secret.npz"}, ["a.npz"], "images", "", True)
@example({"a.npz:images": "../secret.npz"}, ["a.npz"], "images", "", False)
@example({"a.npz:images": "../secret.npz"}, ["a.npz"], None, ":images", False)
@example({}, ["a.npz"], None, ":images", True)
def test_no_file_outside_is_read(
    links: dict[str, str], names: list[str], part: str | None, more: str, is_url: bool
) -> None:
    with folders(links) as (folder, limits):
        text = str(folder / "/".join(names)) + more
        uri = f"file://{quote(text)}" if is_url else text
        try:
            read = uploads.read_uri(uri, body(part), limits, ALLOWED, any_network)
        except (RequestRefused, ImageError):
            return
        assert set(np.unique(read.images).tolist()) == {INSIDE}


def test_a_part_is_read_and_the_limit_holds_for_it() -> None:
    with folders({"link.npz": "a.npz"}) as (folder, limits):
        for name in ("a.npz", "link.npz"):
            assert (
                len(
                    uploads.read_uri(
                        f"{folder}/{name}:images", body(None), limits, ALLOWED, any_network
                    ).images
                )
                == 2
            )
            assert (
                len(uploads.read_uri(f"{folder}/{name}", body("images"), limits, ALLOWED, any_network).images)
                == 2
            )
        tight = uploads.allowance(load_api(max_decoded_mb=0.0001), TAKE)
        with pytest.raises(ImageError, match="unpacks to more"):
            uploads.read_uri(f"{folder}/link.npz:images", body(None), limits, tight, any_network)


def test_labels_next_to_images_are_not_read_through_a_link() -> None:
    links = {"t10k-labels-idx1-ubyte": "../secret.npz"}
    with folders(links) as (folder, limits), pytest.raises(RequestRefused, match="labels"):
        uploads.read_uri(f"{folder}/t10k-images-idx3-ubyte", body(None), limits, ALLOWED, any_network)


def test_a_folder_of_pictures_reserves_memory_and_gives_it_back() -> None:
    memory = MemoryBudget("images", 3_000_000)
    with folders({}) as (folder, limits), memory.account() as take:
        (folder / "pictures").mkdir()
        for k in range(3):
            Image.new("L", (64, 64)).save(folder / "pictures" / f"{k}.png")
        uri = f"{folder}/pictures"
        assert (
            len(
                uploads.read_uri(uri, body(None), limits, uploads.allowance(limits, take), any_network).images
            )
            == 3
        )
        # Colours of one picture, three decoded ones in 2.5 copies, and three names.
        assert memory.used == 64 * 64 * 8 + 3 * 64 * 64 * 2.5 + 3 * 1_000
        Image.new("L", (1_000, 1_000)).save(folder / "pictures" / "0.png")  # 8 MB of colours
        with pytest.raises(RequestRefused, match="MB of memory"):
            uploads.read_uri(uri, body(None), limits, uploads.allowance(limits, take), any_network)
    assert memory.used == 0
