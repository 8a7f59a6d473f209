"""The result of an experiment: numbers for programs, text for the terminal, figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from producer.files import replacing
from producer.reproduction import charts, text
from producer.reproduction.paper import PublishedTable
from producer.reproduction.scores import published
from producer.reproduction.trial import Scale, Trial
from schema.quantities import count_text

Draw = Callable[[Path], None]


@dataclass(frozen=True, eq=False)
class Reproduced:
    """The result of one experiment.

    Attributes:
        numbers: plain JSON.
        figures: file names of PNGs, and functions that draw each into a path.
    """

    name: str
    numbers: dict[str, Any]
    text: RenderableType
    figures: Mapping[str, Draw] = field(default_factory=dict)

    def save(self, folder: Path) -> list[Path]:
        """Draw the figures into ``folder``, write the numbers there as NAME.json, and return the files
        written.

        Raises:
            ParameterError: a file cannot be written.
            StorageError: no space is left.
        """
        for name, draw in {**self.figures, f"{self.name}.json": self._write_numbers}.items():
            with replacing(folder / name) as unfinished:
                draw(unfinished)
        return [folder / name for name in (*self.figures, f"{self.name}.json")]

    def _write_numbers(self, path: Path) -> None:
        path.write_text(json.dumps(self.numbers, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The published table, where there is one, and our trials.

    ``whole`` describes the data set over which accuracies are counted.
    """

    name: str
    source: str
    published: PublishedTable | None
    trials: Mapping[str, Trial]
    whole: str
    scale: Scale
    seed: int

    def report(self) -> Reproduced:
        """Return numbers, text and figures; curves where the trials have some."""
        trials = list(self.trials.values())
        ours = [(f"ours, {trial.label}", trial.table) for trial in trials]
        paper = self.published
        titled = ours if paper is None else [(f"paper, {paper.name}", published(paper)), *ours]
        page: list[RenderableType] = [
            text.score_tables(titled),
            text.summary(titled, trials, self.whole),
        ]
        figures: dict[str, Draw] = {f"{self.name}.png": partial(charts.draw_scores, titled)}
        for by in ("reads", "noise"):
            if all(trial.runs_by(by) for trial in trials):
                page += ["", text.accuracies(trials, by)]
                curves = [trial.curve(by) for trial in trials]
                figures[f"{self.name}_{by}.png"] = partial(charts.draw_accuracies, curves, text.AXES[by])
        if self.scale.noise:
            page.append(
                f"noise: {text.AXES['noise']}; {count_text(self.scale.noise_reads, 'read')}; "
                f"mean of {self.scale.draws} draws of the errors, worst to best"
            )
        return Reproduced(self.name, self._numbers(), Group(*page), figures)

    def _numbers(self) -> dict[str, Any]:
        return {
            "reproduces": self.name,
            "source": self.source,
            "seed": self.seed,
            "reads": self.scale.reads,
            "noise_draws": self.scale.draws if self.scale.noise else None,
            "noise_reads": self.scale.noise_reads if self.scale.noise else None,
            "whole": self.whole,
            "published": self._published(),
            "ours": {key: trial.to_dict() for key, trial in self.trials.items()},
        }

    def _published(self) -> dict[str, Any] | None:
        if self.published is None:
            return None
        return {**published(self.published).to_dict(), "remark": self.published.remark}
