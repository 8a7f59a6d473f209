"""Malicious files, and words that `annealq classify` must print about each."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Trap:
    """Unpickled, it leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def make(folder: Path, outside: Path) -> dict[str, str]:
    """Write all of them into a folder; what each one's error must name, by path. outside: for traps."""
    said: dict[str, str] = {}
    for build in (_pictures, _npz, _npy, _idx, _csv, _parquet, _arrow, _tar):
        said |= build(folder, outside)
    return {str(folder / name): words for name, words in said.items()}


def _pictures(folder: Path, outside: Path) -> dict[str, str]:
    (folder / "bomb.png").write_bytes(png_of(60_000, 60_000))
    good = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(noise).save(good, "PNG")
    (folder / "cut.png").write_bytes(good.getvalue()[:100])
    (outside / "private.png").write_bytes(good.getvalue())
    for name, target in (("link", "private.png"), ("up", "..")):
        (folder / name).mkdir()
        (folder / name / "inside.png").write_bytes(good.getvalue())
        path = outside if target == ".." else outside / target
        (folder / name / ("0" if target == ".." else "a.png")).symlink_to(path)
    (folder / "up" / "inside.png").unlink()
    return {"bomb.png": "than 16,777,216", "cut.png": "cut.png", "link": "out of", "up": "out of"}


def _npz(folder: Path, outside: Path) -> dict[str, str]:
    header = npy(np.zeros((10, 8, 8), np.uint8))
    with (
        zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as entry,
    ):
        entry.write(header)
        for _ in range(200):
            entry.write(bytes(2**20))
    huge = b"\x93NUMPY\x01\x00" + npy_header("(3000000, 60000, 60000)")
    archive_of(folder / "claims.npz", {"images.npy": huge})
    objects = io.BytesIO()
    np.save(objects, np.array([Trap(outside / "sprung")], dtype=object), allow_pickle=True)
    archive_of(folder / "objects.npz", {"images.npy": objects.getvalue()})
    archive_of(folder / "traversal.npz", {"../../images.npy": header, "/etc/images.npy": header})
    whole = (folder / "traversal.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    return {
        "bomb.npz": "bomb.npz", "claims.npz": "more than", "objects.npz": "pickle",
        "traversal.npz": "traversal.npz", "cut.npz": "cut.npz",
    }  # fmt: skip


def _npy(folder: Path, outside: Path) -> dict[str, str]:
    (folder / "bare.npy").write_bytes(pickle.dumps(Trap(outside / "sprung")))
    evil = f"__import__('os').mkdir({str(outside / 'sprung')!r})"
    (folder / "code.npy").write_bytes(b"\x93NUMPY\x01\x00" + npy_header(evil))
    (folder / "cut.npy").write_bytes(npy(np.zeros((10, 8, 8), np.uint8))[:-100])
    (folder / "nan.npy").write_bytes(npy(np.full((2, 8, 8), np.nan)))
    (folder / "below.npy").write_bytes(npy(np.full((2, 8, 8), -1)))
    names = {"bare.npy": "pickle", "code.npy": "code.npy", "cut.npy": "cut.npy"}
    return {**names, "nan.npy": "nan.npy", "below.npy": "below.npy"}


def _idx(folder: Path, _outside: Path) -> dict[str, str]:
    header = struct.pack(">HBBIII", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    (folder / "huge-idx3-ubyte").write_bytes(header + bytes(100))
    (folder / "axes-idx3-ubyte").write_bytes(struct.pack(">HBB", 0, 8, 255) + bytes(1020))
    good = struct.pack(">HBBIII", 0, 8, 3, 10, 8, 8) + bytes(640)
    (folder / "cut-idx3-ubyte").write_bytes(good[:-1])
    packed = gzip.compress(good, mtime=0)
    (folder / "cut-idx3-ubyte.gz").write_bytes(packed[:-12])
    bomb = zlib.compressobj(1, zlib.DEFLATED, 31)
    body = b"".join(bomb.compress(bytes(2**20)) for _ in range(200)) + bomb.flush()
    (folder / "bomb-idx3-ubyte.gz").write_bytes(body)
    return {name: name for name in (
        "huge-idx3-ubyte", "axes-idx3-ubyte", "cut-idx3-ubyte", "cut-idx3-ubyte.gz", "bomb-idx3-ubyte.gz",
    )}  # fmt: skip


def _csv(folder: Path, _outside: Path) -> dict[str, str]:
    values = {
        "nan": "nan",
        "infinite": "inf",
        "below": "-1",
        "above": "1e300",
        "word": "x",
    }
    for name, value in values.items():
        rows = [",".join(["0"] * 63 + [value]), ",".join(["1"] * 64)]
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    (folder / "long.csv").write_text("1," * 5_000_000)
    return {f"{name}.csv": f"{name}.csv" for name in (*values, "long")}


def _parquet(folder: Path, _outside: Path) -> dict[str, str]:
    import pyarrow as pa
    from pyarrow import parquet

    padded = png_of(1, 1) + bytes(2**20)
    rows = pa.DictionaryArray.from_arrays(
        pa.array([0] * 1024 + [1], pa.int32()), pa.array([padded, png_of(1, 2)])
    )
    expands = pa.table({"image": rows})
    parquet.write_table(expands, folder / "dictionary.parquet", compression="zstd", store_schema=False)
    page = pa.table({"image": [bytes(70 * 2**20)]})
    parquet.write_table(page, folder / "page.parquet", compression="zstd")
    names = pa.table({"image": [{"bytes": None, "path": "/etc/passwd"}, {"bytes": b"", "path": ""}]})
    parquet.write_table(names, folder / "names.parquet")
    whole = (folder / "names.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[:-100])
    noted = pa.table({"image": [b""]}).replace_schema_metadata({"huggingface": "[" * 100_000})
    parquet.write_table(noted, folder / "noted.parquet")
    ragged = pa.table({"x": [[1.0, 2.0], [float("nan")]]})
    parquet.write_table(ragged, folder / "ragged.parquet")
    return {
        "dictionary.parquet": "row 0 is 1 x 1, ", "page.parquet": "a page that unpacks to 70.0 MiB",
        "names.parquet": "names the file '/etc/passwd'", "cut.parquet": "cut.parquet",
        "noted.parquet": "damaged or too long", "ragged.parquet": "ragged.parquet",
    }  # fmt: skip


def _arrow(folder: Path, _outside: Path) -> dict[str, str]:
    import pyarrow as pa

    table = pa.table({"image": [bytes(20 * 2**20)]})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(folder / "packed.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema, options=options) as stream,
    ):
        stream.write_table(table)
    (folder / "cut.arrow").write_bytes((folder / "packed.arrow").read_bytes()[:100])
    return {"packed.arrow": "is compressed", "cut.arrow": "cut.arrow"}


def _tar(folder: Path, _outside: Path) -> dict[str, str]:
    long = tarfile.TarInfo("long")
    long.type, long.size = tarfile.XHDTYPE, 2**32
    bomb = zlib.compressobj(1, zlib.DEFLATED, 31)
    body = bomb.compress(long.tobuf(tarfile.USTAR_FORMAT))
    body += b"".join(bomb.compress(bytes(2**20)) for _ in range(200)) + bomb.flush()
    (folder / "header.tar.gz").write_bytes(body)
    for name, member in (("up", "../../a.png"), ("root", "/a.png")):
        with tarfile.open(folder / f"{name}.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo(member))
    with tarfile.open(folder / "link.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return {
        "header.tar.gz": "a header of more than", "up.tar": "not the name of a file inside",
        "root.tar": "not the name of a file inside", "link.tar": "is a link",
    }  # fmt: skip


def archive_of(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape: str) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return struct.pack("<H", len(text)) + text


def png_of(width: int, height: int) -> bytes:
    """Return a picture that claims ``width`` x ``height`` pixels, and has hardly any."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
