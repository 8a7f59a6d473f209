"""The file of a bundle: any changed byte is named, and nothing but the one form is read."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from worker.proof.container import manifest, merkle, plain_json, signature
from worker.proof.container.archive import DIRECTORY, BundleArchive, DamagedPart, Writer, order

FILES = {
    "a.json": b'{\n"x":1\n}\n',
    "reads/000000.aqs": bytes(range(256)) * 3,
    "reads/000001.aqs": random.Random(1).randbytes(500),
    "zeros.raw": bytes(4000),
}
SEED = bytes(range(32))


def written(path: Path, files: dict[str, bytes] = FILES, *, sign: bool = True) -> Path:
    with path.open("wb") as file:
        writer, records = Writer(file), []
        for name in sorted(files, key=order):
            stored = writer.add(name, files[name], deflate=True)
            records.append(manifest.record(writer.members[-1], files[name], stored))
        said = manifest.manifest(records)
        writer.add(manifest.NAME, plain_json.encode(said), deflate=True)
        if sign:
            signed = signature.sign(Ed25519PrivateKey.from_private_bytes(SEED), said["root"])
            writer.add(signature.NAME, plain_json.encode(signed), deflate=False)
        writer.close()
    return path


def damages(path: Path) -> list[DamagedPart]:
    try:
        with BundleArchive(path) as archive:
            return list(manifest.check(archive).damages)
    except DamagedPart as damage:
        return [damage]


def part_of(path: Path) -> Callable[[int], set[str]]:
    """Return which parts may be named when the byte at an offset changes, as zipfile finds them."""
    spans: list[tuple[int, set[str]]] = []
    with zipfile.ZipFile(path) as opened:
        infos = sorted(opened.infolist(), key=lambda info: info.header_offset)
        for info in infos:
            end = info.header_offset + 30 + len(info.filename) + info.compress_size
            spans.append((end, {info.filename}))
    # An entry of the directory that differs from the header is named by its file.
    spans.append((path.stat().st_size, {DIRECTORY, *(info.filename for info in infos)}))
    return lambda offset: next(names for end, names in spans if offset < end)


def test_a_bundle_is_a_zip_file_that_others_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in FILES} == FILES
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with BundleArchive(path) as archive:
        assert {name: archive.content(name) for name in FILES} == FILES
        found = manifest.check(archive)
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert (found.damages, found.signed_by) == ((), key.hex())


def test_every_byte_is_named_when_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip")
    data, part, rng = path.read_bytes(), part_of(path), random.Random(2)
    other = tmp_path / "b.zip"
    for offset in range(len(data)):
        changed = bytearray(data)
        changed[offset] ^= rng.randrange(1, 256)
        other.write_bytes(changed)
        found = damages(other)
        assert found, f"the byte at {offset} is not noticed"
        assert any(name in str(found[0]) for name in part(offset)), (offset, found, part(offset))


@pytest.mark.parametrize("cut", [1, 22, 100, 2000])
def test_a_file_that_was_cut_or_grew_is_refused(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "a.zip")
    data = path.read_bytes()
    for changed in (data[:-cut], data[cut:], data + bytes(cut), bytes(cut) + data):
        path.write_bytes(changed)
        assert damages(path)


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(target, "w", method) as opened:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 0, 0, method
            opened.writestr(info, content)
    return target.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        zipped(("../evil", b"")),
        zipped(("/etc/passwd", b"")),
        zipped(("a/../b", b"")),
        zipped(("C:evil", b"")),
        zipped(("A.json", b"")),
        zipped(("a.json", b"1"), ("a.json", b"2")),
        zipped(("b.json", b"1"), ("a.json", b"2")),
        zipped(("a.json", b"1" * 10_000_000), method=zipfile.ZIP_LZMA),
        zipped(("a.json", b"1")) + b"comment",
        b"PK\5\6" + bytes(18),
        b"no zip file at all, but long enough",
        b"P",
    ],
    ids=range(12),
)
def test_a_hostile_zip_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "evil.zip"
    path.write_bytes(data)
    assert damages(path)


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = bomb.compress(bytes(50_000_000)) + bomb.flush()
    name = b"a.json"
    for claimed in (50_000_000, 2**31, 1000):
        sizes = (20, 0, 8, 0, 33, 0, len(content), claimed, len(name), 0)
        head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *sizes)
        entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, *sizes, 0, 0, 0, 0, 0)
        start = len(head) + len(name) + len(content)
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(entry) + len(name), start, 0)
        path.write_bytes(head + name + content + entry + name + end)
        with pytest.raises(DamagedPart, match=r"a\.json"), BundleArchive(path) as archive:
            archive.content("a.json")


finite = st.floats(allow_nan=False, allow_infinity=False)
plain: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers() | st.text() | finite


@given(st.recursive(plain, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=8))
def test_json_has_one_form(value: object) -> None:
    data = plain_json.encode(value)
    assert plain_json.decode("a.json", data) == value
    assert plain_json.encode(plain_json.decode("a.json", data)) == data


@pytest.mark.parametrize(
    "data",
    [b"[" * 200_000, b'{"a":1}', b'{\n"a":1,\n"a":1\n}\n', b"NaN\n", b"1e999\n", b"\xff", b"", b"9" * 5000],
    ids=range(8),
)
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedPart, match=r"a\.json"):
        plain_json.decode("a.json", data)


def test_the_tree_is_that_of_rfc_6962() -> None:
    # Vectors of the Certificate Transparency project: trillian/merkle, inputs and roots of RFC 6962.
    entries = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    ]
    assert [merkle.root(entries[: k + 1]).hex() for k in range(6)] == roots
    assert merkle.root([]).hex() == hashlib.sha256(b"").hexdigest()


def test_a_signature_belongs_to_one_key_and_one_root(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    signed = signature.sign(signature.private_key(private), "ab" * 32)
    assert signature.check(signed, "ab" * 32) == signature.public_key(public).hex()
    others: tuple[object, ...] = (
        {**signed, "x": 1},
        {**signed, "signature": signed["signature"].upper()},
        [],
        {},
    )
    for wrong in others:
        with pytest.raises(DamagedPart, match="is not a signature as bundles have it"):
            signature.check(wrong, "ab" * 32)
    with pytest.raises(DamagedPart, match="is not a signature of this root"):
        signature.check(signed, "cd" * 32)


def test_other_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    rsa = generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = Ed25519PrivateKey.generate().private_bytes(*form, serialization.BestAvailableEncryption(b"x"))
    for data, text in (
        (rsa.private_bytes(*form, serialization.NoEncryption()), "is not an Ed25519 key"),
        (locked, "is not a private key without a password"),
        (b"nothing", "is not a private key"),
    ):
        path.write_bytes(data)
        with pytest.raises(ParameterError, match=text):
            signature.private_key(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        signature.public_key(tmp_path / "missing.pem")
