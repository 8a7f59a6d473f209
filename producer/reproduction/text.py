"""Text of an experiment for the terminal: the published table next to ours, and the figures of each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.table import Table
from rich.text import Text

from producer.reproduction.scores import ScoreTable
from producer.reproduction.trial import ExperimentResult, Trial

NONE = "-"
AXES = {
    "reads": "reads of each image",
    "noise": "errors on h and J, as a fraction of their ranges",
}


def score_tables(titled: Sequence[tuple[str, ScoreTable]]) -> Columns:
    """Print tables of scores (``titled``) next to each other, as far as the terminal is wide enough."""
    return Columns([_scores(title, table) for title, table in titled], padding=(1, 3))


def summary(titled: Sequence[tuple[str, ScoreTable]], trials: Sequence[Trial], whole: str) -> Table:
    """Return the figures of each table in ``titled`` and each of ``trials``; ``whole`` describes the data
    set.
    """
    table = Table(title="summary", title_justify="left")
    table.add_column("")
    for name, _ in titled:
        table.add_column(name, justify="right")
    tables = [scores for _, scores in titled]
    table.add_row("images right, own class alone highest", *(f"{t.right} of {len(t.labels)}" for t in tables))
    table.add_row("own class highest with another", *(str(t.tied) for t in tables))
    table.add_row("lowest score of a right class", *(f"{t.lowest_right:.0f}" for t in tables))
    table.add_row("highest score of a wrong class", *(f"{t.runner_up:.0f}" for t in tables))
    unknown = [NONE] * (len(titled) - len(trials))
    table.add_row(f"{whole}, right", *unknown, *(_share(trial.whole) for trial in trials))
    own = (NONE if trial.own.accuracy is None else f"{trial.own.accuracy:.2%}" for trial in trials)
    table.add_row("the network without annealer, right", *unknown, *own)
    one_hot = (f"{trial.whole.one_hot_fraction:.1%}" for trial in trials)
    table.add_row("reads with exactly one class on", *unknown, *one_hot)
    if all(trial.by_reads for trial in trials):
        table.add_row("fewest reads within 0.1 points", *unknown, *(str(t.fewest_reads) for t in trials))
    return table


def accuracies(trials: Sequence[Trial], by: str) -> Table:
    """Return the accuracy of each of ``trials`` against ``by``: reads or noise."""
    table = Table(title=f"accuracy against {by}", title_justify="left")
    table.add_column(by, justify="right")
    for trial in trials:
        table.add_column(trial.label, justify="right")
    for row in zip(*(trial.runs_by(by) for trial in trials), strict=True):
        value = row[0][0].parameters[by]
        cells = (_share(draws[0]) if len(draws) == 1 else _spread(draws) for draws in row)
        table.add_row(f"{value:,}" if by == "reads" else f"{value:.2f}", *cells)
    return table


def _spread(draws: Sequence[ExperimentResult]) -> str:
    """Return the mean accuracy of several draws, and the worst and best of them."""
    values = [run.accuracy for run in draws]
    return f"{sum(values) / len(values):.2%} ({min(values):.2%} to {max(values):.2%})"


def _share(run: ExperimentResult) -> str:
    return f"{run.accuracy:.2%} ({run.right:,} of {len(run.labels):,})"


def _scores(title: str, scores: ScoreTable) -> Table:
    table = Table(title=title, title_justify="left", padding=0, box=SIMPLE_HEAD)
    table.add_column("true", style="bold")
    for k in range(scores.scores.shape[1]):
        table.add_column(str(k), justify="right", min_width=3)
    for label, row in zip(scores.labels.tolist(), scores.scores.tolist(), strict=True):
        most = max(row)
        cells = [_cell(value, k == label, value == most > 0) for k, value in enumerate(row)]
        table.add_row(str(label), *cells)
    return table


def _cell(value: float, own: bool, highest: bool) -> Text:
    style = "bold " * highest + ("green" if own else "red" if highest else "dim" if value < 0.5 else "")
    return Text(f"{value:.0f}", style=style.strip())
