"""Writes a run as a `FiftyOneDataset`: pictures, their true and predicted classes, and what is known of them.

Written is the form without a schema (`samples.json` with one object for each picture, and a `metadata.json`
without a version), whose fields FiftyOne infers, so that it does not depend on the version that reads it:
https://docs.voxel51.com/user_guide/import_datasets.html#fiftyonedataset; class LegacyFiftyOneDatasetImporter
of fiftyone/utils/data/importers.py, which `FiftyOneDataset` uses for it (read in version 1.22.1).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from producer.exports.exported_run import ExportedRun, require_pixels
from producer.exports.pictures import png, visible
from producer.exports.places import folder_or_zip
from producer.files import temporary
from producer.reports.export import ABOUT, to_json

_OF_LABELS = ("image", "label", "true_class", "predicted", "predicted_class", "scores", "probabilities")


def write(run: ExportedRun, path: Path) -> str:
    """Write ``run`` to the folder or .zip ``path``; return how FiftyOne reads it.

    Raises:
        ParameterError: it has vectors; the folder exists already, or it cannot be written.
        DiskFull: no space left.
    """
    require_pixels(run, "FiftyOne")
    # A .zip has one open member at a time: samples are collected in a file until all pictures are written.
    with folder_or_zip(path) as opened, temporary(), TemporaryFile() as samples:
        separator = b'{"samples": [\n'
        for row, pixels in run.images:
            name = f"data/{row['image']:07d}.png"
            with opened(name) as file:
                file.write(png(visible(pixels, run.white)))
            samples.write(separator + to_json(_sample(name, row)).encode())
            separator = b",\n"
        samples.write(b"\n]}\n")
        samples.seek(0)
        with opened("samples.json") as file:
            shutil.copyfileobj(samples, file)
        info = {"classes": run.classes, ABOUT: run.about}
        with opened("metadata.json") as file:
            file.write(to_json({"media_type": "image", "info": info}).encode())
    reader = "from_archive" if path.suffix.lower() == ".zip" else "from_dir"
    return f"fiftyone.Dataset.{reader}({str(path)!r}, fiftyone.types.FiftyOneDataset)"


def _sample(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the sample of the picture ``name``; fields without a value are left out."""
    found = {key: value for key, value in row.items() if key not in _OF_LABELS and value is not None}
    tags = []
    if row["true_class"] is not None:
        tags.append("right" if row["predicted"] == row["label"] else "wrong")
        found["ground_truth"] = _classification(row["true_class"])
    if row["predicted_class"] is not None:
        confidence = {} if row["probability"] is None else {"confidence": row["probability"]}
        found["predictions"] = _classification(row["predicted_class"], **confidence)
    return {"filepath": name, "tags": tags, "index": row["image"], **found}


def _classification(label: str, **values: float) -> dict[str, Any]:
    return {"_cls": "Classification", "label": label, **values}
