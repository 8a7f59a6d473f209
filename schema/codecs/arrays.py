"""Images, labels and scores as the bytes that the tables store: C order, little-endian."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schema.codecs.pieces import pieces
from schema.errors import Corrupt, ShardError
from schema.shapes import ImageArray, ImageShape

_T = TypeVar("_T", bound=np.generic)
_SHARES = b"AQCB"  # 48.8 as a float32, and no share is above 1: older bytes never begin so


def read_shape(text: str, dtype: str) -> ImageShape:
    """Return the shape of the images of a row, whose columns are ``text`` and ``dtype``; raise Corrupt."""
    try:
        return ImageShape.parse(text, dtype)
    except ValueError as error:
        raise Corrupt(str(error)) from None


def encode_images(images: ImageArray) -> bytes:
    """Encode ``images``, of a kind that `ImageShape` knows."""
    dtype = ImageShape.of(images).stored_dtype
    return np.ascontiguousarray(images, dtype=dtype).tobytes()


def batch_checksum(images: bytes, shape: ImageShape, labels: bytes | None) -> str:
    """Return the SHA-256 of a batch: of the ``shape`` of an image, encoded ``images`` and ``labels``, if any.

    Grey images have no shape in it, as in earlier versions.
    """
    state = hashlib.sha256(_sealed_shape(shape))
    state.update(images)
    state.update(labels or b"")
    return state.hexdigest()


class EncodedRows(Protocol):
    """Images that are read from where they are, as `schema.shards.reference.ShardRows` does."""

    @property
    def path(self) -> str: ...

    def read(self, count: int, shape: ImageShape) -> bytes: ...


def read_images(data: bytes | EncodedRows, count: int, shape: ImageShape) -> bytes:
    """Return the encoded images of a batch: ``data``, or ``count`` images of ``shape`` read from a file.

    Raises:
        ShardError: they cannot be read.
    """
    return data if isinstance(data, bytes) else data.read(count, shape)


def decode_images(
    data: bytes | EncodedRows, count: int, shape: ImageShape, sha256: str, labels: bytes | None
) -> ImageArray:
    """Decode the images of a batch to (``count``, ...), read-only; check its labels with them.

    Args:
        data: the encoded images, or what reads them.
        count: of images.
        shape: of each.
        sha256: as `batch_checksum` returns it; in grey batches of earlier versions, of the images alone.
        labels: the encoded labels, if any.

    Raises:
        Corrupt: the checksum or the length does not agree.
        ShardError: the images cannot be read from their file, or are others by now.
    """
    encoded = read_images(data, count, shape)
    state = hashlib.sha256(_sealed_shape(shape))
    state.update(encoded)
    of_images = state.hexdigest() if shape.is_grey else None
    state.update(labels or b"")
    if sha256 not in (state.hexdigest(), of_images):
        content = "images" if labels is None else "images or their labels"
        if not isinstance(data, bytes):
            raise ShardError(
                f"{data.path} has other {content} than when they were enqueued, by their checksum: "
                "restore the file as it was, and resume the run"
            )
        raise Corrupt(f"{count} stored {content} are damaged: their checksum does not agree")
    return _read(encoded, shape.stored_dtype, shape.count * count).reshape(shape.array(count))


def training_checksum(count: int, shape: ImageShape, images: bytes, labels: bytes) -> str:
    """Return the SHA-256 of a training set: of its shape, ``images`` before they are deflated, ``labels``."""
    dtype = "" if shape.dtype == "uint8" else f" {shape.dtype}"
    return digest(f"{shape.array(count)}{dtype}".encode(), images, labels)


def decode_training_set(
    data: bytes, labels: bytes, count: int, shape: ImageShape, sha256: str
) -> tuple[ImageArray, NDArray[np.int16]]:
    """Decode a training set to images (``count``, ...) and labels (``count``,) int16, read-only.

    Args:
        data: the deflated images.
        labels: the encoded labels.
        count: of images.
        shape: of each.
        sha256: as `training_checksum` returns it.

    Raises:
        Corrupt: they are damaged, or longer or shorter than the shape says.
    """
    images = inflate_images(data, count, shape)
    if training_checksum(count, shape, images.tobytes(), labels) != sha256:
        raise Corrupt(f"{count} stored images or their labels are damaged: their checksum does not agree")
    return images, decode_labels(labels, count)


def inflate_images(data: bytes, count: int, shape: ImageShape) -> ImageArray:
    """Decode ``data``, deflated images of ``shape``, to (``count``, ...), read-only.

    Raises:
        Corrupt: they are damaged, or longer or shorter than the shape says.
    """
    try:
        plain = zlib.decompressobj().decompress(data, count * shape.nbytes + 1)
    except zlib.error as error:
        raise Corrupt(f"{count} stored images are damaged: {error}") from None
    return _read(plain, shape.stored_dtype, count * shape.count).reshape(shape.array(count))


def encode_labels(labels: NDArray[np.integer]) -> bytes:
    """Encode ``labels`` (N,), whole numbers below 2^15."""
    return np.ascontiguousarray(labels, dtype="<i2").tobytes()


def decode_labels(data: bytes, count: int) -> NDArray[np.int16]:
    """Decode ``data`` to (``count``,) int16; raise Corrupt when the length does not agree."""
    return _read(data, np.dtype(np.int16).newbyteorder("<"), count)


def encode_members(members: NDArray[np.integer]) -> bytes:
    """Encode ``members`` (N,), indices of images within their run: int32, then their CRC-32."""
    return _sealed(np.ascontiguousarray(members, dtype="<i4").tobytes())


def decode_members(data: bytes, count: int) -> NDArray[np.int32]:
    """Decode ``data`` to (``count``,) int32, each 0 or more.

    Raises:
        Corrupt: length or checksum do not agree, or an index is below 0 or comes twice.
    """
    if len(data) != 4 * count + 4:
        raise Corrupt(f"members have {len(data)} bytes where {4 * count + 4} belong")
    members = np.frombuffer(_opened(data, 4 * count, "members"), "<i4")
    if members.min(initial=0) < 0 or len(np.unique(members)) < count:
        raise Corrupt("members are damaged: an index is below 0, or comes twice")
    return members


def image_numbers(first: int, count: int, members: bytes | None) -> Sequence[int]:
    """Return the index within the run of each of ``count`` images of a batch that begins at ``first``.

    ``members`` are those of a batch of a later round of reads; raise Corrupt if they are damaged.
    """
    return range(first, first + count) if members is None else decode_members(members, count).tolist()


def encode_scores(scores: NDArray[np.floating]) -> list[bytes]:
    """Encode ``scores`` (B, K) as one row of bytes for each image: K float32 and their CRC-32."""
    rows = np.ascontiguousarray(scores, dtype="<f4")
    return [_sealed(row.tobytes()) for row in rows]


def decode_scores(rows: list[bytes], classes: int) -> NDArray[np.float32]:
    """Decode ``rows`` to (B, ``classes``) float32, each in [0, 1]; rows of earlier versions have no checksum.

    Raises:
        Corrupt: length or checksum do not agree, or a score is out of range; names the row.
    """
    plain = [_opened(row, 4 * classes, f"scores {index} of {len(rows)}") for index, row in enumerate(rows)]
    scores = np.frombuffer(b"".join(plain), "<f4").reshape(len(rows), classes)
    if not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise Corrupt("scores are damaged: one is not between 0 and 1")
    return scores


def encode_class_sets(sets: NDArray[np.bool_]) -> list[bytes]:
    """Encode ``sets`` (B, K) as one row of bytes for each image: a bit for each class, the highest first."""
    return [row.tobytes() for row in np.packbits(sets, axis=1)]


def decode_class_sets(rows: list[bytes], classes: int) -> NDArray[np.bool_]:
    """Decode ``rows`` to (B, ``classes``) bool; raise Corrupt if a length is wrong or a set is empty."""
    size = -(-classes // 8)
    if any(len(row) != size for row in rows):
        raise Corrupt(f"a set of classes has not the {size} bytes of {classes} classes")
    packed = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size)
    bits = np.unpackbits(packed, axis=1)
    if bits[:, classes:].any() or not bits[:, :classes].any(axis=1).all():
        raise Corrupt("a set of classes is damaged: it is empty, or has a class that the network has not")
    return bits[:, :classes].astype(np.bool_)


def encode_chain_breaks(shares: NDArray[np.floating]) -> bytes:
    """Encode ``shares`` (B, n) of broken reads: a mark, a CRC-32, the shares as float32."""
    body = np.ascontiguousarray(shares, dtype="<f4").tobytes()
    return _SHARES + zlib.crc32(body).to_bytes(4, "little") + body


def decode_chain_breaks(data: bytes, images: int) -> NDArray[np.float32]:
    """Decode ``data`` of B ``images`` to (B, n) float32, each in [0, 1].

    Bytes of earlier versions have neither mark nor checksum.

    Raises:
        Corrupt: length or checksum do not agree, or a share is out of range.
    """
    body = data
    if data[:4] == _SHARES:
        body = data[8:]
        if zlib.crc32(body).to_bytes(4, "little") != data[4:8]:
            raise Corrupt("shares of broken chains are damaged: their checksum does not agree")
    if not body or len(body) % (4 * images):
        raise Corrupt(f"{len(body)} bytes are not shares of broken chains for {images} images")
    shares = np.frombuffer(body, "<f4").reshape(images, -1)
    if not ((shares >= 0.0) & (shares <= 1.0)).all():
        raise Corrupt("shares of broken chains are damaged: one is not between 0 and 1")
    return shares


def checksum(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Digest:
    """The SHA-256 of parts, each with its length, so that no two lists of parts collide."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, *parts: bytes) -> None:
        """Add ``parts``."""
        for part in parts:
            self.add_pieces(len(part), [part])

    def add_pieces(self, length: int, pieces: Iterable[bytes]) -> None:
        """Add one part of ``length`` bytes that comes in ``pieces``."""
        self._state.update(length.to_bytes(8, "little"))
        for piece in pieces:
            self._state.update(piece)

    def text(self) -> str:
        """Return the digest of what was added, in hexadecimal."""
        return self._state.hexdigest()


def digest(*parts: bytes) -> str:
    """Return the `Digest` of ``parts``."""
    state = Digest()
    state.add(*parts)
    return state.text()


def images_digest(before: Sequence[bytes], images: ImageArray, labels: NDArray[np.integer] | None) -> str:
    """Return the digest of the parts ``before``, and of shape, values and ``labels`` of ``images``."""
    state = Digest()
    dtype = "" if images.dtype == np.uint8 else f" {images.dtype}"
    state.add(*before, f"{images.shape}{dtype}".encode())
    state.add_pieces(images.nbytes, map(encode_images, pieces(images)))
    state.add(b"" if labels is None else encode_labels(labels))
    return state.text()


def canonical(value: dict[str, Any]) -> bytes:
    """Return ``value``, plain JSON, as bytes for a digest: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sealed_shape(shape: ImageShape) -> bytes:
    """Return what the checksum of a batch begins with; nothing for grey images."""
    return b"" if shape.is_grey else f"{shape} {shape.dtype}\0".encode()


def _sealed(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


def _opened(data: bytes, size: int, name: str) -> bytes:
    """Return the first ``size`` bytes, compared with the CRC-32 after them, if there is one."""
    if len(data) not in (size, size + 4):
        raise Corrupt(f"{name} have {len(data)} bytes where {size} belong")
    if len(data) > size and data != _sealed(data[:size]):
        raise Corrupt(f"{name} are damaged: their checksum does not agree")
    return data[:size]


def _read(data: bytes, dtype: np.dtype[_T], count: int) -> NDArray[_T]:
    if len(data) != count * dtype.itemsize:
        raise Corrupt(f"{len(data)} bytes are stored where {count} values of {dtype.itemsize} bytes belong")
    return np.frombuffer(data, dtype)
