"""Names the data sets that a run can be written as, and writes them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.exports.exported_run import ExportedRun


class DatasetFormat(StrEnum):
    """Data sets of other tools, which have the images."""

    FIFTYONE = "fiftyone"
    LABELSTUDIO = "labelstudio"
    HUGGINGFACE = "huggingface"


def write_dataset(run: ExportedRun, form: DatasetFormat, path: Path) -> str:
    """Write ``run`` to ``path`` as ``form``; return how it is read.

    Raises:
        ParameterError: the tool cannot show vectors, the path cannot be written, or pyarrow is missing.
        DiskFull: no space left; nothing is left of it.
        Corrupt: an image is damaged; nothing is left of what was written.
    """
    from producer.exports import fiftyone, hugging_face, label_studio  # all commands on runs know the names

    writers = {
        DatasetFormat.FIFTYONE: fiftyone.write,
        DatasetFormat.LABELSTUDIO: label_studio.write,
        DatasetFormat.HUGGINGFACE: hugging_face.write,
    }
    return writers[form](run, path)
