"""Limits of a source of images, each with its reason.

All are checked against the claims of a header before memory is allocated.
"""

from __future__ import annotations

MAX_BYTES = 2 * 2**30
"""Decoded bytes of one source. As uint8 that is 2.7 million 28 x 28 images."""

MAX_IMAGES = 10_000_000
"""Images of one source. Beyond it labels, file names and rows need more memory than the pixels."""

MAX_PIXELS = 4096 * 4096
"""Pixels of one image. A network for an annealer reads some hundred; this only stops decompression bombs."""

MAX_REDUCIBLE_PIXELS = 2**26
"""Pixels of a JPEG that is decoded at a fraction of its size: 67 million, more than phones take. Decoding a
progressive one needs 3 bytes for each."""

MAX_WEBP_BYTES = 64 * 2**20
"""Bytes of a WebP file, which Pillow reads as a whole."""

MAX_MEMBER_BYTES = 64 * 2**20
"""Bytes of one picture in a zip archive, which is unpacked in memory."""

MAX_MEMBERS = 1_000_000
"""Entries of an archive; the names of all of them are held in memory."""

MAX_UNPACKED_BYTES = 64 * 2**30
"""Bytes of a compressed archive after unpacking: minutes of one processor."""

MAX_PAGE_BYTES = 64 * 2**20
"""Unpacked bytes of one page of a Parquet file, which is unpacked in memory; writers aim at 1 MiB."""

MAX_PAGES = 100_000
"""Pages of one column in a row group of a Parquet file: 100 GB of the usual size."""

MAX_FOOTER_BYTES = 32 * 2**20
"""Bytes of the metadata at the end of a Parquet file, which pyarrow holds in memory several times over."""

MAX_GROUP_BYTES = 512 * 2**20
"""Bytes of vectors in one row group of a Parquet file: one hostile row may hold all of them."""

MAX_TEXT_BYTES = 512 * 2**20
"""Decoded bytes of one text file. MNIST's 60,000 training images are 110 MB as CSV."""

MAX_DIMENSIONS = 4
"""Axes of an array: image, row, column, channel."""

MAX_LABEL = 65_535
"""Largest label. Each class needs a qubit of its own, and no annealer has that many."""

MAX_NPY_HEADER = 10_000
"""Characters of a .npy header, as ``numpy.lib.format`` has it: longer ones are slow to parse."""

DEFLATE_RATIO = 1032
"""Deflate cannot shrink data more (zlib.net/zlib_tech.html), so a larger claim is false."""

CHUNK_BYTES = 2**20
"""Bytes that are read and converted at a time, so that conversions need little memory."""

MAX_FORTRAN_BYTES = 8 * 2**20
"""Bytes of an array in Fortran order: its first image is complete only after its last byte."""

UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))


def format_bytes(count: int) -> str:
    """Return ``count`` bytes as text, in the largest binary unit in which it is 1 or more."""
    if count < 2**10:
        return f"{count:,} byte{'' if count == 1 else 's'}"
    power, unit = next(unit for unit in UNITS if count >= 2 ** unit[0])
    return f"{count / 2**power:,.1f} {unit}"
