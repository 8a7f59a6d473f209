"""Opens listed members of archives, in the order of their rows."""

from __future__ import annotations

import io
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from producer.images.pictures.entry import ListedFile
from producer.images.stream import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from producer.images.archives.members import Archive


def archive_entries(
    files: Sequence[Archive], starts: Sequence[int], members: Sequence[int], names: Sequence[str], first: int
) -> Iterator[ListedFile]:
    """Yield pictures from row ``first`` on.

    Args:
        files: that hold them.
        starts: the first row of each file, and the number of all rows.
        members: the number of the member of each row in its file.
        names: of each row, for display.
        first: row.

    Raises:
        ImageError: a file has changed.
    """
    for file, (start, end) in zip(files, pairwise(starts), strict=True):
        if end <= first:
            continue
        with file.opened() as content:
            for row in range(max(start, first), end):
                shown = f"{file.name}/{printable('/'.join(file.members[members[row]].parts))}"
                yield ListedFile(shown, names[row], partial(_open, content, members[row]))


def _open(content: Callable[[int], bytes], member: int) -> AbstractContextManager[BinaryIO]:
    return nullcontext(io.BytesIO(content(member)))
