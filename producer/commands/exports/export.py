"""`annealq runs export`: results as tables, or with the images as data sets of other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.commands.shared.options import MAX_NUMBER, Number
from producer.exports.formats import DatasetFormat
from schema.errors import ParameterError
from schema.quantities import count_text

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

_TABLES = ("csv", "json", "parquet")


@dataclass(frozen=True)
class _Choice:
    """Which images of a run are wanted; None: it does not matter. Classes are names."""

    wrong: bool | None
    status: str | None
    label: str | None
    predicted: str | None
    probability_below: float | None
    margin_below: float | None
    set_size_above: int | None

    @property
    def is_all(self) -> bool:
        return all(value is None for value in vars(self).values())

    def conditions(self, names: tuple[str, ...]) -> list[ColumnElement[bool]]:
        """Return the conditions on images; raise ParameterError for a class that is not in ``names``."""
        from producer.runs.filters import ResultFilter, image_conditions

        wanted = ResultFilter(
            wrong=self.wrong,
            status=self.status,
            label=_number("--label", self.label, names),
            predicted=_number("--predicted", self.predicted, names),
            probability_below=self.probability_below,
            margin_below=self.margin_below,
            set_size_above=self.set_size_above,
        )
        return image_conditions(wanted)


def _number(option: str, name: str | None, names: tuple[str, ...]) -> int | None:
    """Return the number of the class ``name``; raise ParameterError if it is not in ``names``."""
    if name is not None and name not in names:
        raise ParameterError(f"{option} {name} is unknown: choose one of: {', '.join(names)}")
    return None if name is None else names.index(name)


Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write; default: standard output. With images: fiftyone, a new folder or .zip; "
        "labelstudio, a .json file or .zip; huggingface, a .parquet file or a new folder.",
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="csv, json or parquet; default: by the file's name. With images: fiftyone, labelstudio or "
        "huggingface.",
    ),
]
Wrong = Annotated[
    bool | None, typer.Option("--wrong/--right", help="Only labelled images that are wrong, or right.")
]
Status = Annotated[
    str | None, typer.Option("--status", help="Only images that are decided, tied or undecided.")
]
Label = Annotated[str | None, typer.Option("--label", metavar="CLASS", help="Only images of this class.")]
Predicted = Annotated[
    str | None, typer.Option("--predicted", metavar="CLASS", help="Only images predicted to be of it.")
]
ProbabilityBelow = Annotated[
    float | None, typer.Option("--probability-below", min=0, max=1, help="Only less probable classes.")
]
MarginBelow = Annotated[
    float | None, typer.Option("--margin-below", min=0, max=1, help="Only smaller margins.")
]
SetSizeAbove = Annotated[
    int | None, typer.Option("--set-size-above", min=0, max=MAX_NUMBER, help="Only larger sets.")
]
Images = Annotated[
    Path | None,
    typer.Option("--images", help="Write all its images and labels to this .npz file, for `classify`."),
]


def export(
    run: Number,
    output: Output = None,
    format_name: FormatName = None,
    wrong: Wrong = None,
    status: Status = None,
    label: Label = None,
    predicted: Predicted = None,
    probability_below: ProbabilityBelow = None,
    margin_below: MarginBelow = None,
    set_size_above: SetSizeAbove = None,
    images: Images = None,
) -> None:
    """Export the images of a run with predictions, scores and certainty, or the images themselves.

    The formats fiftyone, labelstudio and huggingface have the images, too: to look at mistakes in FiftyOne,
    to correct labels in Label Studio, and to load them with Hugging Face's `datasets`.

    Example: `annealq runs export 1 --wrong --format fiftyone --output wrong`.
    """
    from producer.context import database
    from producer.reports.export import write_images
    from producer.runs import queries, results
    from producer.runs.summary import reservations

    chosen = _format(format_name, output)
    choice = _Choice(wrong, status, label, predicted, probability_below, margin_below, set_size_above)
    if status is not None and status not in ("decided", "tied", "undecided"):
        raise ParameterError(f"--status {status} is unknown: choose one of: decided, tied, undecided")
    if images is not None and not choice.is_all:
        raise ParameterError("--images writes all images of a run: leave the options that choose some out")
    with database() as opened, opened.reading() as session:
        summary = queries.run(session, run)
        wanted = choice.conditions(queries.classes(session, run))
        if images is not None:
            write_images(images, *results.images(session, run), results.about(session, summary))
            typer.echo(f"{images}: `annealq classify {images}`", err=True)
            if output is None and format_name is None:
                return
        for note in reservations(summary):
            typer.echo(f"run {run}: {note}", err=True)
        if output is not None and chosen in set(DatasetFormat):
            _write_dataset(session, run, DatasetFormat(chosen), output, wanted)
        else:
            _write_table(session, run, chosen, output, wanted)


def _format(name: str | None, output: Path | None) -> str:
    """Return the format that a user named, or that the file ``output`` has."""
    from producer.reports.export import guess_format

    chosen = name or (guess_format(output) if output else "csv")
    known = (*_TABLES, *DatasetFormat)
    if chosen not in known:
        raise ParameterError(f"unknown format {chosen!r}; choose one of: {', '.join(known)}")
    if chosen in set(DatasetFormat) and output is None:
        raise ParameterError(f"the format {chosen} has images: name the folder or file to write by --output")
    return chosen


def _write_table(
    session: Session, run: int, form: Any, output: Path | None, wanted: list[ColumnElement[bool]]
) -> None:
    from producer.reports.export import write
    from producer.runs import queries, results

    names = queries.classes(session, run)
    about = results.about(session, queries.run(session, run))
    rows = results.rows(session, run, names, wanted=wanted)
    write(rows, results.columns(names), output, form, about)


def _write_dataset(
    session: Session, run: int, form: DatasetFormat, output: Path, wanted: list[ColumnElement[bool]]
) -> None:
    from producer.exports.exported_run import read_run
    from producer.exports.formats import write_dataset
    from producer.reports.progress import StepBars
    from producer.reports.terminal import screen

    written = 0
    with StepBars(screen()) as steps:
        advance = steps.start_step("images", 0)

        def on_progress(count: int) -> None:
            nonlocal written
            written += count
            advance(count)

        found = read_run(session, run, wanted, on_progress)
        hint = write_dataset(found, form, output)
    typer.echo(f"{count_text(written, 'image')} written to {output}: {hint}", err=True)
