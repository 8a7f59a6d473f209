"""Names rows of a file, and reads them: the one place where images that are not in the database come from.

What is read is compared with the checksum of the batch by whoever decodes it, so that a file that has changed
is found out. No file outside of the folders of the setting `reference_folders` is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from schema.errors import ShardError
from schema.settings.folders import allowed_folders
from schema.shapes import ImageShape
from schema.shards.npy import read_npy
from schema.shards.parquet import read_parquet


class ShardFormat(StrEnum):
    """Formats of files that batches may refer to."""

    NPY = "npy"
    PARQUET = "parquet"


@dataclass(frozen=True)
class ShardRows:
    """Rows of a file that follow one another, the images of one batch.

    Attributes:
        path: absolute, the same for producers and workers.
        size: bytes of the file when the batch was enqueued.
        first: number of the first row within the file.
        column: that has the images, of a table.
    """

    path: str
    format: ShardFormat
    size: int
    first: int
    column: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the rows ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made ``values`` of; raise ShardError for what a newer version wrote."""
        try:
            return cls(**{**values, "format": ShardFormat(values["format"])})
        except (TypeError, ValueError, KeyError) as error:
            raise ShardError(
                f"a batch names its images in an unknown way ({error}): upgrade annealq"
            ) from None

    def read(self, count: int, shape: ImageShape) -> bytes:
        """Return ``count`` images of ``shape``, encoded as batches are.

        Raises:
            ShardError: the file is missing, not in an allowed folder, or has other rows.
        """
        path = self._allowed()
        try:
            size = path.stat().st_size
            if size != self.size:
                raise ShardError(f"{self.path} is {size:,} bytes long instead of {self.size:,}: {_RESTORE}")
            if self.format is ShardFormat.NPY:
                return read_npy(path, self.first, count, shape)
            return read_parquet(path, self.column or "", self.first, count, shape)
        except OSError as error:
            raise ShardError(f"{self.path} cannot be read ({error.strerror}): {_RESTORE}") from None
        except ValueError as error:
            raise ShardError(f"{self.path} has other rows than it had ({error}): {_RESTORE}") from None

    def _allowed(self) -> Path:
        """Return the path without links, if it is in an allowed folder."""
        folders = allowed_folders()
        path = Path(self.path).resolve()
        if not any(path.is_relative_to(folder) for folder in folders):
            named = ":".join(map(str, folders)) or "not set"
            raise ShardError(
                f"{self.path} is in no folder that batches may refer to (ANNEALQ_REFERENCE_FOLDERS is "
                f"{named}): add its folder, for all producers and workers"
            )
        return path


_RESTORE = "restore the file as it was, and resume the run"


def encoded_images(images: bytes, reference: Mapping[str, Any] | None) -> bytes | ShardRows:
    """Return the encoded images of a batch: ``images``, or, with a ``reference``, what reads them."""
    return images if reference is None else ShardRows.from_dict(reference)
