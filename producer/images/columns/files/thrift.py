"""Reads Thrift's compact protocol, in which Parquet writes its metadata.

pyarrow shows no page headers, and ends the process on some damaged metadata (see `footer`). Layout:
thrift.apache.org, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

from schema.errors import ImageError

Structure = dict[int, object]
"""Fields by number: integers, bytes, lists and structures; booleans and floats are passed over."""

_DEEPEST = 16  # structures in structures; Parquet's have five
_LONGEST_VARINT = 10

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class Damaged(ImageError):
    """The bytes are not a structure of the compact protocol."""


class Ended(Damaged):
    """The bytes end within a structure."""


class Compact:
    """Reads one structure; ``place`` is the byte after it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def structure(self, depth: int = 0) -> Structure:
        """Return the fields of the structure that begins at ``place``.

        Raises:
            Damaged: an unknown type, a field twice, or too many structures in each other.
            Ended: the bytes end before it does.
        """
        if depth > _DEEPEST:
            raise Damaged("too many structures in each other")
        fields: Structure = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            if number in fields:
                raise Damaged("a field twice")  # readers differ in which of them they take
            fields[number] = self._value(head & 0x0F, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind in (_TRUE, _FALSE):
            return None  # the type is the value
        if kind in (_BYTE, _DOUBLE):
            self._take(1 if kind == _BYTE else 8)
            return None
        raise Damaged("an unknown type")  # Parquet has no maps

    def _list(self, depth: int) -> list[object]:
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 15:
            size = self._varint()
        if size > len(self._data) - self.place:  # each element has a byte at least
            raise Ended("a list that is too long")
        if kind in (_TRUE, _FALSE):
            self._take(size)
            return []
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        if self.place >= len(self._data):
            raise Ended("no more bytes")
        byte = self._data[self.place]
        self.place += 1
        return byte

    def _take(self, count: int) -> bytes:
        start = self.place
        self.place += count
        if self.place > len(self._data):
            raise Ended("a text that is too long")
        return self._data[start : self.place]

    def _varint(self) -> int:
        value = 0
        for k in range(_LONGEST_VARINT):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * k)
            if byte < 0x80:
                return value
        raise Damaged("a number without an end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
