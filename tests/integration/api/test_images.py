"""Images that are accepted, and refusals with a hint."""

from __future__ import annotations

import gzip
import io
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.settings import load_api
from schema.tables import Batch, BatchImages
from tests import PATIENCE_S
from tests.integration.api.attacks.conftest import head
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import some_images
from tests.serving import THIS_MACHINE, client, serving


def parquet(images: np.ndarray, folder: Path) -> bytes:
    pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    from pyarrow import parquet as files

    rows = [{"bytes": png(image), "path": f"{k}.png"} for k, image in enumerate(images)]
    files.write_table(pa.table({"image": rows, "label": list(range(len(rows)))}), folder / "a.parquet")
    return (folder / "a.parquet").read_bytes()


@pytest.fixture
def limited(database_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """An API with tight limits, that may read below `tmp_path/open`."""
    (tmp_path / "open").mkdir()
    api = load_api(folders=[tmp_path / "open"], max_body_mb=0.1, max_decoded_mb=0.2)
    with serving(database_url, api) as address, client(address) as opened:
        yield opened


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_pictures_keep_their_order_and_names(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    images = some_images(3).images
    names = ["z.png", "../../etc/a.png", "C:\\pictures\\b.png"]
    files = [("images", (name, png(image))) for name, image in zip(names, images, strict=True)]
    run = http.post("/v1/runs", files=files).json()["run_id"]
    with database.reading() as session:
        row = session.execute(select(BatchImages).join(Batch).where(Batch.run_id == run)).scalar_one()
        assert row.images == images.tobytes()
        assert row.sources == ["z.png", "a.png", "b.png"]


def test_a_file_of_labels(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    images = some_images(4).images
    file = io.BytesIO()
    np.save(file, images)
    files = {"images": ("a.npy", file.getvalue()), "labels": ("labels.csv", b"3\n1\n4\n1\n")}
    answer = http.post("/v1/runs", files=files)
    assert answer.status_code == 202, answer.text
    with database.reading() as session:
        labels = session.execute(select(BatchImages.labels)).scalar_one()
    assert labels is not None
    assert np.frombuffer(labels[:8], "<i2").tolist() == [3, 1, 4, 1]


def test_tables_and_archives(
    http: httpx.Client, database: Database, network: ChosenNetwork, tmp_path: Path
) -> None:
    images = some_images(3).images
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for k, image in enumerate(images):
            info = tarfile.TarInfo(f"{k}/a.png")
            info.size = len(png(image))
            archive.addfile(info, io.BytesIO(png(image)))
    for name, data in (("my.parquet", parquet(images, tmp_path)), ("my.tar.gz", tar.getvalue())):
        run = http.post("/v1/runs", files={"images": (name, data)}).json()["run_id"]
        with database.reading() as session:
            row = session.execute(select(BatchImages).join(Batch).where(Batch.run_id == run)).scalar_one()
            assert row.images == images.tobytes()
            assert row.labels is not None


def test_csv_and_gzip(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    pixels = some_images(2).images
    text = "\n".join(",".join(map(str, image.reshape(-1))) for image in pixels)
    files = {"images": ("a.csv.gz", gzip.compress(text.encode()))}
    assert http.post("/v1/runs", files=files).status_code == 202
    with database.reading() as session:
        assert session.execute(select(BatchImages.images)).scalar_one() == pixels.tobytes()


UNUSABLE = (
    (b"", "not valid JSON"),
    (b"[" * 100_000, "not valid JSON"),
    (b"[]", "JSON object"),
    (b"{}", "either"),
    (b'{"images": [[[1]]], "uri": "/x"}', "either"),
    (b'{"images": []}', "images"),
    (b'{"images": [[[1, 2], [3]]]}', "different sizes"),
    (b'{"images": [[["a"]]]}', "pixels of type"),
    (b'{"images": [[[NaN]]]}', "NaN"),
    (b'{"images": [[[300]]]}', "255"),
    (b'{"images": [[[1]]], "labels": [1, 2]}', "one label per image"),
    (b'{"images": [[[1]]], "network": "a\\u0000b"}', "network"),
    (b'{"images": [[[1]]], "network": "\\ud800"}', "network"),
    (b'{"images": [[[1]]], "reads": 0}', "reads"),
    (b'{"images": [[[1]]], "raeds": 10}', "raeds"),
    (b'{"images": [[[1]]], "solver": "abacus"}', "solver"),
    (b'{"images": [[[1]]], "tiles": 3}', "no tiles"),
    (b'{"images": [[[1]]], "lam": 1e999}', "lam"),
    (b'{"images": [[[1]]], "network": "nobody"}', "'nobody'"),
)


def test_json_that_cannot_be_used(http: httpx.Client, network: ChosenNetwork) -> None:
    for body, words in UNUSABLE:
        answer = http.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
        assert words in refused(answer, 422), body


def test_files_that_cannot_be_used(http: httpx.Client, network: ChosenNetwork) -> None:
    small = png(np.zeros((8, 8), np.uint8))
    large = png(np.zeros((9, 9), np.uint8))
    two = [("images", ("a.png", small)), ("images", ("b.png", large))]
    assert "b.png: is 9 x 9" in refused(http.post("/v1/runs", files=two), 422)
    mixed = [("images", ("a.png", small)), ("images", ("b.npz", npz()))]
    assert "b.npz" in refused(http.post("/v1/runs", files=mixed), 422)
    message = refused(http.post("/v1/runs", files={"images": ("a.npz", b"PK\3\4nonsense")}), 422)
    assert message.startswith("a.npz")
    assert "upload" not in message
    refused(http.post("/v1/runs", files={"pictures": ("a.npz", npz())}), 422)
    refused(http.post("/v1/runs", files={"images": ("a.npz", npz())}, data={"uri": "/x"}), 422)
    refused(http.post("/v1/runs", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    refused(http.post("/v1/runs", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)


def test_too_much_is_refused_before_it_is_read(limited: httpx.Client, network: ChosenNetwork) -> None:
    large = limited.post("/v1/runs", content=b" " * 200_000, headers={"Content-Type": "application/json"})
    refused(large, 413)
    # Without a length it is counted as it comes, and the connection is closed.
    with socket.create_connection(
        (limited.base_url.host, limited.base_url.port or 0), PATIENCE_S
    ) as connection:
        chunked = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        connection.sendall(head("POST", "/v1/runs", *chunked, key=THIS_MACHINE))
        for _ in range(25):  # 102,400 bytes, and more could come
            connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"hint" in answer


def test_what_unpacks_to_too_much_is_refused(limited: httpx.Client, network: ChosenNetwork) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, images=np.zeros((5_000, 8, 8), np.uint8))
    assert len(file.getvalue()) < 100_000
    assert "unpacks" in refused(send(limited, file.getvalue()), 422)
    array = io.BytesIO()
    np.save(array, np.zeros((200_000, 8, 8), np.uint8))
    for name, bomb in (("a.npy.gz", array.getvalue()), ("a.csv.gz", b"0," * 5_000_000)):
        files = {"images": (name, gzip.compress(bomb))}
        assert "unpacks" in refused(limited.post("/v1/runs", files=files), 422)
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w") as archive:
        archive.writestr("images.npy", b"no array")
    refused(send(limited, lying.getvalue()), 422)


def test_files_of_the_operator(limited: httpx.Client, network: ChosenNetwork, tmp_path: Path) -> None:
    (tmp_path / "open" / "a.npz").write_bytes(npz(5))
    (tmp_path / "secret.npz").write_bytes(npz(5))
    (tmp_path / "open" / "link.npz").symlink_to(tmp_path / "secret.npz")
    for uri in (f"{tmp_path}/open/a.npz", f"file://{tmp_path}/open/a.npz"):
        answer = limited.post("/v1/runs", json={"uri": uri, "reads": 3})
        assert answer.status_code == 202, answer.text
    for uri in (
        f"{tmp_path}/secret.npz",
        f"{tmp_path}/open/../secret.npz",
        f"{tmp_path}/open/link.npz",
        "open/a.npz",
        "/etc/passwd",
        f"file://elsewhere{tmp_path}/open/a.npz",
        "http://127.0.0.1/a.npz",
    ):
        refused(limited.post("/v1/runs", json={"uri": uri}), 403)
    refused(limited.post("/v1/runs", json={"uri": f"{tmp_path}/open/none.npz"}), 422)


def test_no_folder_is_open_unless_the_operator_says_so(
    http: httpx.Client, network: ChosenNetwork, tmp_path: Path
) -> None:
    (tmp_path / "a.npz").write_bytes(npz(5))
    refused(http.post("/v1/runs", json={"uri": f"{tmp_path}/a.npz"}), 403)
