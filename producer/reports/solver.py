"""What solvers with qubits give people to read: costs before a run, embeddings, and what a run used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.embeddings.queries import EmbeddingSummary, UnitLayers
from producer.figures.q_matrix import unit_names
from producer.runs.dry_runs import PreparationSummary
from schema.codecs.tiling import Tiling
from schema.parameters import Parameters, Solver

_BAR = 40  # characters of the longest bar


def free(solver: Solver, name: str, images: int) -> dict[str, Any]:
    """The costs of a run on a solver of this machine, by name: there are none."""
    return {
        "dry_run": True,
        "name": name,
        "solver": solver.value,
        "images": images,
        "problems": 0,
        "qpu_us": 0,
        "qpu_us_per_image": 0.0,
    }


def costs(found: PreparationSummary, name: str, parameters: Parameters, batch_size: int) -> dict[str, Any]:
    """What a run over the images called ``name`` would need and cost, by name."""
    about = {"dry_run": True, "name": name, "network": found.network, "solver": found.solver}
    about |= {"reads": parameters.reads, "batch_size": batch_size}
    return {**about, **{("qpu" if key == "solver" else key): value for key, value in found.plan.items()}}


def costs_text(costs: Mapping[str, Any]) -> RenderableType:
    """A dry run for people."""
    table = Table.grid(padding=(0, 2))
    table.add_row("dry run", f"{costs['images']:,} images of {costs['name']}: nothing was sent")
    if "embedding_id" not in costs:
        table.add_row("costs", f"solver {costs['solver']} runs on this machine: nothing is charged")
        return table
    table.add_row("solver", f"{costs['solver']}: {costs['qpu']}, graph {costs['graph_id']}")
    table.add_row("network", f"{costs['network']}, {costs['reads']:,} reads an image")
    table.add_row("embedding", _found(costs))
    table.add_row("strength", f"chains {costs['chain_strength']:.4g}, h and J times {costs['scale']:.4g}")
    table.add_row("problems", f"{costs['problems']:,}, up to {costs['tiles']} images each")
    table.add_row(
        "QPU time",
        f"{_time(costs['qpu_us'])}, {costs['qpu_us_per_image']:,.1f} us an image: so much is charged",
    )
    return table


def _found(plan: Mapping[str, Any]) -> str:
    tiles = "1 tile" if plan["tiles"] == 1 else f"{plan['tiles']} tiles"
    came = "stored already, its search took" if plan["found"] else "found now in"
    return (
        f"{plan['embedding_id']}: {tiles}, {plan['qubits']:,} qubits, longest chain {plan['longest_chain']}; "
        f"{came} {plan['search_s']:.1f} s"
    )


def embeddings_table(embeddings: Sequence[EmbeddingSummary]) -> Table:
    """`embeddings list` for people."""
    table = Table()
    for name in ("id", "network", "solver", "graph", "state", "tiles", "qubits", "longest chain", "seconds"):
        table.add_column(name, justify="left" if name in ("network", "solver", "graph", "state") else "right")
    table.add_column("method")
    table.add_column("problems", justify="right")
    for held in embeddings:
        table.add_row(
            str(held.embedding_id),
            held.name,
            f"{held.solver}: {held.chip}",
            held.graph_id if held.current else f"{held.graph_id}, not its newest",
            held.state,
            _number(held.tiles),
            _number(held.qubits),
            _number(held.longest_chain),
            "" if held.seconds is None else f"{held.seconds:.1f}",
            held.method or "",
            f"{held.problems:,}",
        )
    return table


def embedding_text(
    held: EmbeddingSummary, tiling: Tiling | None, layers: UnitLayers | None, *, found_now: bool | None = None
) -> RenderableType:
    """`embeddings show` and `find` for people."""
    about = Table.grid(padding=(0, 2))
    about.add_row("embedding", f"{held.embedding_id}, {held.state}: {held.name}")
    graph = held.graph_id if held.current else f"{held.graph_id}, which is not its newest"
    about.add_row("solver", f"{held.solver}: {held.chip}, graph {graph}")
    wanted = "as many as fit" if held.tiles_wanted == 0 else f"at most {held.tiles_wanted}"
    about.add_row("tiles", f"{_number(held.tiles) or 'none'}, wanted: {wanted}")
    if held.qubits is not None:
        about.add_row("qubits", f"{held.qubits:,}, longest chain {held.longest_chain}")
    if held.seconds is not None:
        repaired = "" if held.repaired_from is None else f", from embedding {held.repaired_from}"
        source = {None: "", True: ", now", False: ", stored already"}[found_now]
        about.add_row("search", f"{held.seconds:.1f} s by {held.method}{repaired}, seed {held.seed}{source}")
    about.add_row("used by", f"{held.problems:,} problems")
    parts: list[RenderableType] = [about]
    if tiling is not None:
        parts += [_chain_lengths(tiling), *_by_layer(tiling, layers)]
    if held.error:
        parts.append(Text(held.error, style="red"))
    return Group(*parts)


def chain_lengths(tiling: Tiling) -> dict[int, int]:
    """How many chains there are of each length."""
    counts = np.bincount(tiling.lengths.ravel())
    return {length: int(count) for length, count in enumerate(counts) if count}


def _chain_lengths(tiling: Tiling) -> Table:
    table = Table(title=f"chains by their qubits, {tiling.lengths.mean():.2f} on average")
    table.add_column("qubits", justify="right", style="bold")
    table.add_column("chains", justify="right")
    table.add_column("")
    counts = chain_lengths(tiling)
    for length, count in counts.items():
        table.add_row(str(length), f"{count:,}", "▪" * max(1, round(_BAR * count / max(counts.values()))))
    return table


def _by_layer(tiling: Tiling, layers: UnitLayers | None) -> list[Table]:
    if layers is None or len(layers.sizes) == 1:
        return []
    table = Table(title="chains by layer of units")
    for name in ("layer", "units", "mean", "longest"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    ends = np.cumsum(layers.sizes)
    for kind, size, end in zip(layers.kinds, layers.sizes, ends, strict=True):
        lengths = tiling.lengths[:, end - size : end]
        table.add_row(kind, f"{size:,}", f"{lengths.mean():.2f}", str(lengths.max()))
    return [table]


def solver_figures(figures: Mapping[str, Any], layers: UnitLayers) -> Table:
    """What a run used of a solver with qubits, for a terminal."""
    table = Table.grid(padding=(0, 2))
    for name, text in solver_rows(figures, layers):
        table.add_row(name, text)
    return table


def solver_rows(figures: Mapping[str, Any], layers: UnitLayers) -> list[tuple[str, str]]:
    """What a run used of a solver with qubits, by name; ``figures`` are the run's statistics."""
    rows: list[tuple[str, str]] = []
    again = [(figures["problems_adopted"], "adopted"), (figures["problems_resubmitted"], "sent again")]
    again.append((figures["duplicates"], "duplicates"))
    rest = ", ".join(f"{count:,} {what}" for count, what in again)
    rows.append(("problems", f"{figures['problems_sent']:,} sent, {rest}"))
    charged = (
        f"{_time(figures['qpu_access_time_us'])}, {figures['qpu_access_time_us_per_image']:,.1f} us an image"
    )
    estimated = figures.get("qpu_estimated_us", 0.0)
    rows.append(("QPU time", f"{charged}; expected: {_time(estimated)}"))
    if wasted := figures.get("qpu_wasted_us"):
        rows.append(("wasted", f"{_time(wasted)} on duplicates"))
    if times := figures.get("solver_time_us"):
        rows.append(("of it", _parts(times)))
    saved = figures.get("embedding_seconds_saved", 0.0)
    stored = f"{figures['embedding_hits']:,} batches found it stored, {figures['embedding_misses']:,} waited"
    rows.append(("embedding", f"{stored}; {saved:.1f} s of search saved"))
    if breaks := figures.get("chain_breaks"):
        worst = _unit(breaks["worst_unit"], layers)
        rows.append(
            (
                "chain breaks",
                f"{breaks['mean']:.2%} of reads on average, most in {worst}: {breaks['worst']:.2%}",
            )
        )
    return rows


def _parts(times: Mapping[str, float]) -> str:
    """`12 ms programming, 8 ms sampling (anneal ...), 3 ms overhead, not charged`."""
    sampling = ", ".join(f"{name} {_time(times[name])}" for name in ("anneal", "readout", "delay"))
    return (
        f"programming {_time(times['programming'])}, sampling {_time(times['sampling'])} ({sampling}); "
        f"overhead {_time(times['overhead'])}, not charged"
    )


def _unit(index: int, layers: UnitLayers) -> str:
    if index >= sum(layers.sizes):
        return f"unit {index}"
    return f"unit {unit_names(layers.sizes, layers.kinds)[index]}"


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:,.3f} s"
    return f"{microseconds / 1e3:,.1f} ms"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
