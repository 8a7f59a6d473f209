"""`annealq reproduce`: the paper's experiments, with the published tables next to ours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schema.errors import ParameterError
from schema.parameters import MAX_READS

if TYPE_CHECKING:
    from producer.images.imageset import ImageSet
    from producer.reproduction.report import Reproduced
    from producer.reproduction.runner import Runner
    from producer.reproduction.trial import Scale


class Experiment(StrEnum):
    """An experiment that can be reproduced."""

    TABLE1 = "table1"  # five digits of 5 x 5 pixels
    TABLE2 = "table2"  # MNIST, 50 units
    CONV358 = "conv358"  # MNIST, 358 units
    SCALING = "scaling"  # time of one image


@dataclass(frozen=True)
class ReproduceOptions:
    """Options of the sampling that a user chose."""

    seed: int
    reads: int | None
    limit: int | None
    quick: bool

    def scale(self, full: Scale, quick: Scale) -> Scale:
        return (quick if self.quick else full).changed(self.reads, self.limit)


def reproduce(
    name: Annotated[Experiment, typer.Argument(help="The paper's table or section.")],
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="Labelled test images, as for `classify`; table1 has its own."),
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", help="Labelled images to train the networks on, if they are not.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", min=1, help="Only the first N test images.")
    ] = None,
    reads: Annotated[
        int | None,
        typer.Option("--reads", "-r", min=1, max=MAX_READS, help="Anneals for each image; default 1000."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the reads and of the choice of images.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for figures (PNG) and numbers (JSON).")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer reads and images: a trial, not a result.")
    ] = False,
    embedded: Annotated[
        bool,
        typer.Option("--embedded", help="Run a private broker and workers for the length of this command."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Batches at a time; default: processors, 4 at least."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Reproduce an experiment of the paper: its table next to ours. Existing runs are used again.

    Example: `annealq reproduce table1 --output table1 --embedded`.
    """
    from producer.commands.shared.session import open_app
    from producer.reports.terminal import page, print_json, screen
    from producer.reproduction.runner import Runner

    if output is not None:
        _prepare(output)
    test, training = _read(name, data, train)
    with open_app(embedded=embedded, workers=workers) as app:
        result = _run(name, Runner(app), test, training, ReproduceOptions(seed, reads, limit, quick))
    files = [] if output is None else result.save(output)
    if json:
        print_json({**result.numbers, "quick": quick, "files": [str(path) for path in files]})
        return
    page().print(result.text)
    for path in files:
        screen().print(f"written: {path}")


def _prepare(folder: Path) -> None:
    """Check before the work that figures can be drawn and saved."""
    from producer.figures import saving

    saving.require_matplotlib()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{folder}: cannot be a folder for figures: {error.strerror or error}") from None


def _read(name: Experiment, data: str | None, train: str | None) -> tuple[ImageSet | None, ImageSet | None]:
    from producer.images.source import read_images

    if name is Experiment.TABLE1 and (data or train):
        raise typer.BadParameter("table1 has its five digits with it: leave out --data and --train")
    if name in (Experiment.TABLE2, Experiment.CONV358) and not data:
        raise typer.BadParameter(f"{name} needs labelled MNIST test images: --data mnist_test.npz")
    return read_images(data) if data else None, read_images(train) if train else None


def _run(
    name: Experiment,
    runner: Runner,
    test: ImageSet | None,
    training: ImageSet | None,
    options: ReproduceOptions,
) -> Reproduced:
    from producer.reproduction.experiments import conv358, scaling, table1, table2

    seed = options.seed
    if name is Experiment.TABLE1:
        return table1.reproduce(runner, options.scale(table1.FULL, table1.QUICK), seed)
    if name is Experiment.SCALING:
        scale = options.scale(scaling.FULL, scaling.QUICK)
        return scaling.reproduce(runner, test, training, scale, seed)
    assert test is not None  # noqa: S101  (checked by _read)
    if name is Experiment.TABLE2:
        scale = options.scale(table2.FULL, table2.QUICK)
        return table2.reproduce(runner, test, training, scale, seed)
    scale = options.scale(conv358.FULL, conv358.QUICK)
    return conv358.reproduce(runner, test, training, scale, seed)
