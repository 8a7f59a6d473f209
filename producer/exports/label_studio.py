"""Writes a run as tasks of Label Studio with predictions, and the labelling interface that shows them.

Formats: https://labelstud.io/guide/predictions (tasks with `data` and `predictions`, of type `choices`) and
https://labelstud.io/tags/choices. Pictures are data URIs, so that Label Studio needs no access to files.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import IO, Any

from producer.exports.exported_run import ExportedRun, require_pixels
from producer.exports.pictures import data_address, visible
from producer.exports.places import folder_or_zip
from producer.files import replacing
from producer.reports.export import to_json
from schema.errors import ParameterError

_CHOICES, _PICTURE = "class", "image"  # names of the two tags of the interface
_DATA = (
    *("source", "true_class", "predicted_class", "status", "provisional", "reads", "probability"),
    *("energy_gap", "margin", "class_set", "set_size", "guarantee_void"),
)


def write(run: ExportedRun, path: Path) -> str:
    """Write ``run`` to the file NAME.json ``path``, and NAME.xml next to it; return how they are read.

    A ``path`` NAME.zip becomes an archive with tasks.json and tasks.xml.

    Raises:
        ParameterError: it has vectors; the suffix is wrong, or the file cannot be written.
        DiskFull: no space left.
    """
    require_pixels(run, "Label Studio")
    if path.suffix == ".zip":
        with folder_or_zip(path) as opened:
            with opened("tasks.json") as tasks:
                _write_tasks(run, tasks)
            with opened("tasks.xml") as interface:
                interface.write(_interface(run.classes))
        return (
            f"unpack {path}, set up a project with the labelling interface tasks.xml, and import tasks.json"
        )
    if path.suffix != ".json":
        raise ParameterError(
            f"{path}: tasks of Label Studio are written as NAME.json or NAME.zip: use one of these suffixes"
        )
    interface_path = path.with_suffix(".xml")
    with replacing(path) as unfinished, replacing(interface_path) as unfinished_interface:
        unfinished_interface.write_bytes(_interface(run.classes))
        with unfinished.open("wb") as file:
            _write_tasks(run, file)
    return f"set up a project with the labelling interface {interface_path}, and import {path}"


def _write_tasks(run: ExportedRun, file: IO[bytes]) -> None:
    separator = "[\n"
    for row, pixels in run.images:
        task = _task(data_address(visible(pixels, run.white)), row, run.network)
        file.write((separator + to_json(task)).encode())
        separator = ",\n"
    file.write(b"\n]\n")


def _task(picture: str, row: dict[str, Any], network: str) -> dict[str, Any]:
    data = {_PICTURE: picture, "index": row["image"]} | {name: row[name] for name in _DATA}
    chosen = row["predicted_class"]
    predictions = [] if chosen is None else [_prediction(chosen, row["probability"], network)]
    return {"data": data, "predictions": predictions}


def _prediction(chosen: str, score: float | None, network: str) -> dict[str, Any]:
    result = {
        "from_name": _CHOICES,
        "to_name": _PICTURE,
        "type": "choices",
        "value": {"choices": [chosen]},
    }
    known = {} if score is None else {"score": score}
    return {"model_version": network, **known, "result": [result]}


def _interface(classes: tuple[str, ...]) -> bytes:
    choices = "\n".join(f'    <Choice value="{html.escape(name)}"/>' for name in classes)
    return (
        f'<View>\n  <Image name="{_PICTURE}" value="${_PICTURE}"/>\n'
        f'  <Choices name="{_CHOICES}" toName="{_PICTURE}" choice="single" showInLine="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    ).encode()
