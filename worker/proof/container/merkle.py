"""The Merkle tree over the files of a bundle, hashed as in RFC 6962, section 2.1.

The hash of a leaf begins with the byte 0, that of an inner node with the byte 1, so that none can be taken
for the other. A tree of n > 1 leaves splits after the largest power of two below n.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_LEAF, _NODE = b"\x00", b"\x01"


def root(entries: Sequence[bytes]) -> bytes:
    """Return the 32 bytes of the Merkle tree hash of ``entries``.

    >>> root([]).hex() == hashlib.sha256().hexdigest()
    True
    >>> root([b""]).hex()[:16]
    '6e340b9cffb37a98'
    """
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(_LEAF + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return hashlib.sha256(_NODE + root(entries[:split]) + root(entries[split:])).digest()
