"""What a client returns: progress of a run, a run as it is shown, and classified images."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import TYPE_CHECKING, Any

from .errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FINISHED = ("done", "failed", "cancelled")  # states in which a run stays, unless a user resumes it
_SHOWN = 10  # images of a table in a notebook


@dataclass(frozen=True)
class RunProgress:
    """Images of a run that are sampled (including scored ones), scored, or in failed batches.

    ``event_id`` is the id of the event that brought it: `Client.events` resumes after it.
    """

    run_id: int
    state: str
    images: int
    sampled: int
    scored: int
    failed: int
    error: str | None
    event_id: str | None = field(default=None, compare=False)

    def _repr_html_(self) -> str:
        """Return a table of the images in each state, for notebooks."""
        counts = {
            name: f"{getattr(self, name):,} of {self.images:,}" for name in ("sampled", "scored", "failed")
        }
        figures = {"state": self.state, **counts, "error": self.error}
        return _table(f"run {self.run_id}", _rows(figures))


@dataclass(frozen=True)
class ImageResult:
    """A classified image.

    ``scores`` and ``probabilities`` have one value in [0, 1] for each class, in the network's order. The
    probabilities are calibrated, and computed classically from the network, not from reads; empty: unknown.
    """

    index: int
    predicted: int | None
    predicted_class: str | None
    status: str
    scores: tuple[float, ...]
    margin: float
    energy_gap: float | None
    probability: float | None
    label: int | None
    source: str | None
    probabilities: tuple[float, ...] = ()
    reads: int | None = None  # behind it, of all rounds
    provisional: bool = False  # a later round of reads may change it
    class_set: tuple[str, ...] | None = None  # holds the right class with the run's confidence; None: no such
    set_size: int | None = None
    guarantee_void: str | None = None  # why the guarantee of the set does not hold, if that is known


class RunInfo(dict[str, Any]):
    """A run as the server shows it: the object of `annealq runs show RUN --json`. Notebooks render it."""

    @property
    def id(self) -> int:
        """Return the number of the run."""
        return int(self["run_id"])

    @property
    def state(self) -> str:
        """Return the state of the run: queued, running, done ..."""
        return str(self["state"])

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was changed or left out when the images were read."""
        return tuple(self.get("notes") or ())

    @property
    def reservations(self) -> tuple[str, ...]:
        """Return what speaks against relying on the results: provisional, guarantee void, alarm of a QPU."""
        return tuple(self.get("reservations") or ())

    @property
    def is_finished(self) -> bool:
        """Return whether the run ended: it is done, failed or cancelled."""
        return self.state in FINISHED

    def _repr_html_(self) -> str:
        """Return a table of the main figures of `annealq runs show`, for notebooks."""
        return _table(f"run {self.get('run_id')}: {self.get('name') or ''}", _rows(_figures(self)))


@dataclass(frozen=True)
class ResultArrays:
    """The classified images of a run as arrays of one length n, in the order of the images.

    Attributes:
        classes: names of the C classes, in the order of scores.
        index: (n,) int64, of the image in the run.
        predicted: (n,) int64, the class; -1: undecided.
        label: (n,) int64, the true class; -1: unknown.
        scores: (n, C) float64, in [0, 1].
        margin: (n,) float64, the best score minus the second best.
        probability: (n,) float64, calibrated, of the predicted class; NaN: unknown.
        energy_gap: (n,) float64, to the best other class; NaN: unknown.
        probabilities: (n, C) float64, calibrated, by the network itself and not by reads; NaN: unknown.
        class_sets: (n, C) bool, classes in the set of each image; none in a run without a confidence.
    """

    classes: tuple[str, ...]
    index: NDArray[np.int64]
    predicted: NDArray[np.int64]
    label: NDArray[np.int64]
    scores: NDArray[np.float64]
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    energy_gap: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    class_sets: NDArray[np.bool_]

    @classmethod
    def of(cls, images: Sequence[ImageResult], classes: Sequence[str]) -> ResultArrays:
        """Return ``images`` as arrays; their scores are those of ``classes``."""
        import numpy as np

        return cls(
            tuple(classes),
            np.array([image.index for image in images], np.int64),
            np.array([-1 if image.predicted is None else image.predicted for image in images], np.int64),
            np.array([-1 if image.label is None else image.label for image in images], np.int64),
            np.array([image.scores for image in images], np.float64).reshape(len(images), len(classes)),
            _floats(image.margin for image in images),
            _floats(image.probability for image in images),
            _floats(image.energy_gap for image in images),
            np.array(
                [image.probabilities or (math.nan,) * len(classes) for image in images], np.float64
            ).reshape(len(images), len(classes)),
            np.array(
                [[name in (image.class_set or ()) for name in classes] for image in images], np.bool_
            ).reshape(len(images), len(classes)),
        )

    @property
    def accuracy(self) -> float | None:
        """Return the share of labelled images whose class is right; None without labels.

        Undecided images count as wrong.
        """
        labelled = self.label >= 0
        if not labelled.any():
            return None
        return float((self.predicted[labelled] == self.label[labelled]).mean())

    def _repr_html_(self) -> str:
        """Return a table of the first images, for notebooks."""
        title = f"images: {len(self.index):,}"
        if (accuracy := self.accuracy) is not None:
            title += f", accuracy {accuracy:.2%}"
        if len(self.index) > _SHOWN:
            title += f"; the first {_SHOWN}:"
        columns = zip(self.index, self.predicted, self.label, self.margin, self.probability, strict=True)
        rows = [
            (
                str(index),
                "undecided" if predicted < 0 else self.classes[predicted],
                "" if label < 0 else self.classes[label],
                f"{margin:.2f}",
                "" if math.isnan(probability) else f"{probability:.2%}",
            )
            for index, predicted, label, margin, probability in islice(columns, _SHOWN)
        ]
        return _table(title, [("image", "class", "label", "margin", "probability"), *rows])


def image_result(row: Mapping[str, Any], *, provisional: bool = False) -> ImageResult:
    """Return a row of the server's results, which may be ``provisional``."""
    values = {each.name: row.get(each.name) for each in fields(ImageResult)}
    lists: dict[str, Any] = {name: tuple(row.get(name) or ()) for name in ("scores", "probabilities")}
    lists["class_set"] = None if row.get("class_set") is None else tuple(row["class_set"])
    return ImageResult(**{**values, "index": row["image"], **lists, "provisional": provisional})


def run_progress(values: Mapping[str, Any], event_id: str | None) -> RunProgress:
    """Return the progress in the data of an event with ``event_id``."""
    known: dict[str, Any] = {each.name: values.get(each.name) for each in fields(RunProgress)}
    return RunProgress(**known | {"event_id": event_id})


def data_frame(rows: Iterable[Mapping[str, Any]], classes: Sequence[str]) -> pd.DataFrame:
    """Return ``rows`` of the server's results as a table, with the columns of `annealq runs export`.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtra("pandas is not installed: pip install 'annealq-client[pandas]'") from None
    frame = pd.DataFrame.from_records([_flat(row, classes) for row in rows])
    whole = [name for name in ("image", "label", "predicted") if name in frame]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _flat(row: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return ``row`` with a column for the score, and one for the probability, of each of ``classes``."""
    flat = {name: value for name, value in row.items() if name not in ("scores", "probabilities")}
    if row.get("class_set") is not None:
        flat["class_set"] = json.dumps(row["class_set"], ensure_ascii=False)
    flat |= {f"score_{name}": score for name, score in zip(classes, row["scores"], strict=True)}
    shares = row.get("probabilities") or [None] * len(classes)
    return flat | {f"probability_{name}": share for name, share in zip(classes, shares, strict=True)}


def _floats(values: Iterable[float | None]) -> NDArray[np.float64]:
    import numpy as np

    return np.array([math.nan if value is None else value for value in values], np.float64)


def _table(title: str, rows: Iterable[Sequence[str]]) -> str:
    """Return text as a table of HTML, the first cell of each row in bold, in the colours of the notebook."""
    left = "style='text-align: left'"
    body = "".join(
        f"<tr><th {left}>{html.escape(head)}</th>"
        + "".join(f"<td {left}>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for head, *cells in rows
    )
    return f"<table><caption {left}><b>{html.escape(title)}</b></caption>{body}</table>"


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and text of those ``figures`` that are known."""
    return [(name, str(value)) for name, value in figures.items() if value is not None and value != ""]


def _figures(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of ``run`` that a reader looks for first, with their units."""
    statistics, accuracy = run.get("statistics") or {}, run.get("accuracy")
    return {
        "state": "; ".join(filter(None, (run.get("state"), run.get("pause_reason"), run.get("waits")))),
        "network": run.get("network"),
        "solver": ": ".join(filter(None, (run.get("solver"), run.get("qpu")))),
        "images": _images(run),
        "notes": "; ".join(run.get("notes") or ()),
        "accuracy": None if accuracy is None else f"{accuracy:.2%}",
        "images per second": _count(statistics.get("images_per_second")),
        "QPU time": _qpu_time(run, statistics),
        "reservations": "; ".join(run.get("reservations") or ()),
        "error": run.get("error"),
    }


def _images(run: Mapping[str, Any]) -> str | None:
    counts = [f"{run[name]:,} {name}" for name in ("decided", "undecided", "missing") if run.get(name)]
    images = _count(run.get("images"))
    return f"{images}: {', '.join(counts)}" if images and counts else images


def _qpu_time(run: Mapping[str, Any], statistics: Mapping[str, Any]) -> str | None:
    """Return what ``run`` was charged so far, duplicates included, and its budget; None without qubits."""
    used, budget_us = run.get("qpus") or [], run.get("budget_us")
    charged_us = sum(use["qpu_time_us"] for use in used) if used else statistics.get("qpu_access_time_us")
    if not charged_us and not budget_us:
        return None
    parts = [f"{(charged_us or 0) / 1e6:,.3f} s charged"]
    if each_us := statistics.get("qpu_access_time_us_per_image"):
        parts.append(f"{each_us:,.1f} us an image")
    if wasted_us := statistics.get("qpu_wasted_us"):
        parts.append(f"{wasted_us / 1e6:,.3f} s wasted")
    if budget_us:
        parts.append(f"budget {budget_us / 1e6:,.3f} s")
    return ", ".join(parts)


def _count(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"
