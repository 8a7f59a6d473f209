"""Fits a twin of the chip of a run to its stored reads, and writes it as a file for the emulator.

    python -m worker.tools.chips.twin RUN OUTPUT PROBLEMS

It prints lines of JSON objects: {"step": what it does, "done": how much, "size": of how much}, and at last
one with the key "twin", what was found. The file is read by `worker.emulator.qpu.twin`, which describes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.database import Database
from schema.errors import InputError
from schema.quantities import count_text
from schema.settings import load
from schema.tables import Batch, Chip, Problem, Run
from worker.compute.twin.by_qubit import ChipErrorSums
from worker.compute.twin.fit import ChipFit, fit_chip_errors
from worker.compute.twin.night import Night, NightProblem
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.placement import Placement
from worker.tools import entry
from worker.tools.chips.stored_problems import ProblemOnChip, chip_graph, good_problems, read_problems

FORMAT = 1
_FEWEST = 10  # problems
_SHOWN = 10  # tiles, those with the largest errors
_KNOWN = 0.5  # reliability from which on the error of a qubit counts as known
_PROPERTIES = (
    "topology", "num_qubits", "h_range", "j_range", "extended_j_range", "per_qubit_coupling_range",
    "per_group_coupling_range", "annealing_time_range", "fast_anneal_time_range", "problem_timing_data",
)  # fmt: skip

Report = Callable[[str, int, int], None]


@dataclass(eq=False)
class EmbeddingNight:
    """The reads of one embedding, and where its tiles lie.

    Attributes:
        first: a problem on it.
        problems: each with the time of its answer and its row.
        coupling_biases: as each of them measured it.
    """

    first: ProblemOnChip
    problems: list[tuple[tuple[Any, int], NightProblem]] = field(default_factory=list)
    coupling_biases: list[float] = field(default_factory=list)

    @property
    def placement(self) -> Placement:
        """Return the qubits and couplers of all tiles."""
        return self.first.program.placement

    def night(self) -> Night:
        """Return the reads in the order of the answers."""
        k, n = self.first.tiles.tiles, self.first.tiles.units
        chains = self.placement.chains[self.placement.terms >= 0]
        couplers = np.zeros((k, n, n), np.intp)
        tile, (low, high) = chains[:, 0] // n, (chains % n).T
        np.add.at(couplers, (tile, low, high), 1)
        np.add.at(couplers, (tile, high, low), 1)
        ordered = [problem for _, problem in sorted(self.problems, key=lambda pair: pair[0])]
        return Night(self.first.tiles.lengths.reshape(k, n).astype(np.intp), couplers, ordered)


@dataclass(frozen=True, eq=False)
class FittedChip:
    """The twin of a chip: arrays and description as in the file, and what people want to know of it."""

    arrays: dict[str, Any]
    about: dict[str, Any]
    summary: dict[str, Any]


def read_nights(
    session: Session, run: int, most: int, report: Report
) -> tuple[Chip, list[EmbeddingNight], float]:
    """Return the chip of ``run``, the reads of its ``most`` latest good problems, and the spread of charges.

    Args:
        session: of the database.
        report: called with what is done, how much of it, and of how much.

    Raises:
        InputError: there is no such run, or it has too few problems with reads on a chip.
        Corrupt: what is stored is damaged.
    """
    if session.get(Run, run) is None:
        raise InputError(f"run {run} does not exist: `annealq runs list` shows all runs")
    query = good_problems().add_columns(
        Problem.graph_id, Problem.charged_us, Problem.estimated_us, Problem.answered_at
    )
    query = query.join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
    rows = session.execute(query.order_by(Problem.answered_at.desc(), Problem.id.desc()).limit(most)).all()
    latest = [row for row in rows if row.graph_id == rows[0].graph_id]
    if len(latest) < _FEWEST:
        raise InputError(
            f"run {run} has {count_text(len(latest), 'problem')} with reads on a chip, a twin needs at least "
            f"{_FEWEST}: choose a larger run on `dwave` or `emulator` whose raw reads are stored"
        )
    chip = session.execute(select(Chip).where(Chip.graph_id == latest[0].graph_id).limit(1)).scalar_one()
    charges = [row.charged_us / row.estimated_us for row in latest if row.charged_us and row.estimated_us]
    return chip, _by_embedding(session, chip, latest, report), float(np.std(charges)) if charges else 0.0


def _by_embedding(session: Session, chip: Chip, rows: Sequence[Any], report: Report) -> list[EmbeddingNight]:
    # Batch by batch, since the linear terms of a batch are computed once.
    by_batch = sorted(rows, key=lambda row: (row.batch_id, row.first_image))
    nights: dict[int, EmbeddingNight] = {}
    for done, (row, one) in enumerate(zip(by_batch, read_problems(session, chip, by_batch), strict=True), 1):
        night = nights.setdefault(one.embedding, EmbeddingNight(one))
        problem = NightProblem.of(one.numbers, one.units.bits, one.sent, one.coupling_bias, one.signs)
        night.problems.append(((row.answered_at, row.id), problem))
        night.coupling_biases.append(one.coupling_bias)
        report("reading problems", done, len(rows))
    return list(nights.values())


def fit(chip: Chip, nights: Sequence[EmbeddingNight], charge: float, report: Report) -> FittedChip:
    """Fit the twin of ``chip`` to ``nights``; ``charge`` is the relative spread of charges.

    Args:
        report: called with what is done, how much of it, and of how much.
    """
    qubits, couplers = _sorted(chip_graph(chip))
    sums = ChipErrorSums(qubits, couplers)
    fits: list[ChipFit] = []
    for one in nights:
        report("fitting the errors of the chip, by embedding", len(fits), len(nights))
        fits.append(fit_chip_errors(one.night()))
        sums.add(one.placement, fits[-1].errors)
    biases = [bias for one in nights for bias in one.coupling_biases]
    # Temperature and changes are those of the embedding with the most problems.
    chief = fits[max(range(len(nights)), key=lambda number: len(nights[number].problems))]
    about = {
        "format": FORMAT,
        "name": chip.name,
        "graph_id": chip.graph_id,
        "beta": chief.temperature.beta,
        "errors": {
            "h_persistent": chief.errors.h_sd,
            "h_drift": chief.changes.drift,
            "drift_problems": chief.changes.memory,
            "h_random": chief.changes.random,
            "h_from_j": float(np.median(biases)),
            "flip": chief.temperature.flips,
            "charge": min(charge, 0.1),
        },
        "properties": {name: chip.properties[name] for name in _PROPERTIES if name in chip.properties},
    }
    arrays = {"qubits": qubits, "couplers": couplers, "h": sums.h, "gains": sums.gains, "J": sums.J}
    return FittedChip(arrays, about, _summary(sums, nights, fits))


def _summary(
    sums: ChipErrorSums, nights: Sequence[EmbeddingNight], fits: Sequence[ChipFit]
) -> dict[str, Any]:
    """Return how well qubits are known, and the tiles with the largest errors."""
    known = np.nan_to_num(sums.reliability) > _KNOWN
    tiles = [
        {"embedding": one.first.embedding, "tile": tile, "error": round(float(error), 5)}
        for one, fitted in zip(nights, fits, strict=True)
        for tile, error in enumerate(fitted.errors.tile_errors)
    ]
    tiles.sort(key=lambda tile: -tile["error"])
    return {
        "problems": sum(len(one.problems) for one in nights),
        "qubits": int(np.isfinite(sums.h).sum()),
        "known_qubits": int(known.sum()),
        "largest_h": round(float(np.abs(sums.h[known]).max(initial=0.0)), 5),
        "tiles": tiles[:_SHOWN],
    }


def write(fitted: FittedChip, path: Path) -> None:
    """Write the file of a twin to ``path``: arrays, and the description as the bytes of JSON."""
    about = np.frombuffer(json.dumps(fitted.about, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, about=about, **fitted.arrays)


def _sorted(graph: SolverGraph) -> tuple[Any, Any]:
    """Return the qubits and couplers of ``graph``, both ascending."""
    couplers = np.sort(graph.couplers, axis=1)
    order = np.lexsort((couplers[:, 1], couplers[:, 0]))
    return np.sort(graph.qubits), couplers[order]


def _report(step: str, done: int, size: int) -> None:
    _print({"step": step, "done": done, "size": size})


def _print(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Write the twin of the chip of a run, all from the command line."""
    run, output, most = sys.argv[1:]
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            chip, nights, charge = read_nights(session, int(run), int(most), _report)
            fitted = fit(chip, nights, charge, _report)
    finally:
        database.dispose()
    write(fitted, Path(output))
    _print({"twin": {**fitted.about, **fitted.summary}})


if __name__ == "__main__":
    entry.run(main)
