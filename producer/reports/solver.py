"""Solvers with qubits as text: costs before a run, QPUs compared, embeddings, and QPU figures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.embeddings.chip_map import ChipMap
from producer.embeddings.chips import ChipSummary
from producer.embeddings.queries import EmbeddingSummary, UnitLayers
from producer.reports.terminal import new_grid, new_table
from producer.runs.dry_runs import DryRunSummary
from producer.runs.qpus import QpuUse
from schema.codecs.tiling import Tiling
from schema.network.units import unit_names
from schema.parameters import Parameters, Solver
from schema.quantities import count_text
from schema.tables.embeddings import IMPORTED

_TELLING = 50  # measured problems of a chip, with fewer of which no alarm is possible
_BAR = 40  # characters of the longest bar
# What reads say about a chip: key of the statistics, name and format for display.
_MEASURED = (
    ("inverse_temperature", "chip's beta", ".2f"),
    ("chain_breaks", "broken chains", ".2%"),
    ("field_errors", "field errors", ".2f"),
)


def free(solver: Solver, name: str, images: int) -> dict[str, Any]:
    """Return the costs of a dry run of ``images`` images called ``name`` on a local ``solver``: nothing."""
    return {
        "dry_run": True,
        "name": name,
        "solver": solver.value,
        "images": images,
        "problems": 0,
        "qpu_us": 0,
        "qpu_us_per_image": 0.0,
    }


def costs(estimate: DryRunSummary, name: str, parameters: Parameters, batch_size: int) -> dict[str, Any]:
    """Return the ``estimate`` for the images called ``name`` with ``parameters`` and ``batch_size``."""
    about = {"dry_run": True, "name": name, "network": estimate.network, "solver": estimate.solver}
    about |= {"reads": parameters.reads, "visible": parameters.visible, "batch_size": batch_size}
    return {**about, **{("qpu" if key == "solver" else key): value for key, value in estimate.plan.items()}}


def comparison_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return the table of ``rows`` of `qpus.with_experience` under ``title``; chosen QPUs are marked."""
    numbers = ("us an image", "QPU time", "hours", "accuracy")
    table = new_table("QPU", *numbers, "budget", "choice", right=numbers, title=title)
    for row in rows:
        least = "" if row["known"] else ">= "
        style = "bold" if row["images"] else ""
        accuracy = "unknown" if row["accuracy"] is None else f"{row['accuracy']:.2%}\n{row['accuracy_of']}"
        fits = {None: "", True: "fits", False: "too small"}[row["fits_budget"]]
        share = f"{count_text(row['images'], 'image')}: " if row["images"] else ""
        table.add_row(
            Text(f"{'> ' if row['images'] else ''}{row['qpu']}\ngraph {row['graph_id']}", style),
            _figure(row["qpu_us_per_image"], f"{least}{{:,.1f}}"),
            _figure(row["qpu_us"], f"{least}{{:,.3f}} s", 1e-6),
            _figure(row["hours"], f"{least}{{:.3g}}"),
            accuracy,
            fits,
            Text(f"{share}{row['why']}", style),
        )
    return table


def costs_text(costs: Mapping[str, Any]) -> RenderableType:
    """Return the text of a dry run with these ``costs``."""
    table = new_grid()
    table.add_row(
        "dry run", f"{count_text(costs['images'], 'image')} of {costs['name']}: nothing was submitted"
    )
    if "embedding_id" not in costs:
        table.add_row("costs", f"solver {costs['solver']} runs on this machine: nothing is charged")
        return table
    table.add_row("solver", f"{costs['solver']}: {costs['qpu']}, graph {costs['graph_id']}")
    sampling = f"{count_text(costs['reads'], 'read')} an image, visible units {costs['visible']}"
    table.add_row("network", f"{costs['network']}, {sampling}")
    table.add_row("embedding", _embedding(costs))
    table.add_row("strength", f"chains {costs['chain_strength']:.4g}, h and J times {costs['scale']:.4g}")
    table.add_row("problems", f"{costs['problems']:,}, up to {count_text(costs['tiles'], 'image')} each")
    table.add_row(
        "QPU time",
        f"{_time(costs['qpu_us'])}, {costs['qpu_us_per_image']:,.1f} us an image will be charged",
    )
    if later_us := costs.get("later_qpu_us"):
        table.add_row("", f"and at most {_time(later_us)} more by later rounds of reads")
    return Group(table, comparison_table(costs["qpus"], "the QPUs of the service, for this run"))


def _embedding(plan: Mapping[str, Any]) -> str:
    tiles = count_text(plan["tiles"], "tile")
    origin = "stored already, its search took" if plan["found"] else "found now in"
    return (
        f"{plan['embedding_id']}: {tiles}, {count_text(plan['qubits'], 'qubit')}, longest chain "
        f"{plan['longest_chain']}; "
        f"{origin} {plan['search_s']:.1f} s"
    )


def embeddings_table(embeddings: Sequence[EmbeddingSummary]) -> Table:
    """Return the table of `embeddings list`."""
    numbers = ("tiles", "qubits", "longest chain", "seconds")
    columns = ("id", "network", "solver", "graph", "state", *numbers, "method", "problems")
    details = ("method", "seconds", "longest chain", "graph", "problems")
    first_out = (*details, "qubits", "state", "tiles", "solver")
    table = new_table(*columns, right=("id", *numbers, "problems"), first_out=first_out)
    for embedding in embeddings:
        table.add_row(
            str(embedding.embedding_id),
            embedding.name,
            f"{embedding.solver}: {embedding.chip}",
            embedding.graph_id if embedding.current else f"{embedding.graph_id}, outdated",
            embedding.state,
            _number(embedding.tiles),
            _number(embedding.qubits),
            _number(embedding.longest_chain),
            "" if embedding.seconds is None else f"{embedding.seconds:.1f}",
            embedding.method or "",
            f"{embedding.problems:,}",
        )
    return table


def chips_table(chips: Sequence[ChipSummary]) -> Table:
    """Return the table of `embeddings chips`."""
    numbers = ("qubits", "problems")
    columns = ("chip", "graph", *numbers, "newest problems")
    first_out = ("graph", "qubits", "problems")
    table = new_table(*columns, right=numbers, first_out=first_out, wrapped=("newest problems",))
    for chip in chips:
        graph = chip.graph_id if chip.current else f"{chip.graph_id}, outdated"
        usual = "as usual" if chip.measured >= _TELLING else ""
        state = Text(chip.alarm, style="red") if chip.alarm else usual
        table.add_row(f"{chip.solver}: {chip.name}", graph, f"{chip.qubits:,}", f"{chip.measured:,}", state)
    return table


def chip_text(chip: ChipSummary, found: ChipMap) -> RenderableType:
    """Return the text of `embeddings chip`: ``chip``, and what was ``found`` about its qubits."""
    about = new_grid()
    about.add_row("chip", f"{chip.solver}: {chip.name}, graph {chip.graph_id}")
    about.add_row("qubits", f"{chip.qubits:,}, of which {len(found.qubits):,} are in chains")
    about.add_row("problems", f"{found.problems:,} of {chip.measured:,} measured ones")
    usual = "as usual" if chip.measured >= _TELLING else "too few to tell"
    about.add_row("newest", Text(chip.alarm, style="red") if chip.alarm else usual)
    spread = float(np.sqrt(np.mean(found.field_errors**2)))
    about.add_row("field errors", f"{spread:.4f} of h, root mean square")
    table = new_table("qubit", "field error", "give or take", right=("qubit", "field error", "give or take"))
    for qubit, error, give in found.worst():
        table.add_row(str(qubit), f"{error:+.4f}", f"{give:.4f}")
    return Group(about, table)


def twin_text(found: Mapping[str, Any], path: Path) -> RenderableType:
    """Return the text of a twin that was ``found`` and written to ``path``."""
    errors = found["errors"]
    problems, memory = (
        count_text(round(count), "problem") for count in (found["problems"], errors["drift_problems"])
    )
    known = f"errors of {found['known_qubits']:,} are known, the largest is {found['largest_h']:.3f} of h"
    about = new_grid()
    about.add_row("twin of", f"{found['name']}, graph {found['graph_id']}, by {problems}")
    about.add_row("temperature", f"beta {found['beta']:.2f}; {errors['flip']:.2%} of the values read wrongly")
    about.add_row("qubits", f"{found['qubits']:,} are in chains; {known}")
    about.add_row("field errors", f"{errors['h_persistent']:.4f} of h persist, standard deviation of a qubit")
    about.add_row("drift", f"{errors['h_drift']:.4f} of h with a memory of about {memory}")
    about.add_row("at random", f"{errors['h_random']:.4f} of h from problem to problem")
    about.add_row("by couplers", f"{errors['h_from_j']:+.4f} of h for |J| = 1")
    about.add_row("file", str(path))
    table = new_table("embedding", "tile", "error", right=("embedding", "tile", "error"))
    for tile in found["tiles"]:
        table.add_row(str(tile["embedding"]), str(tile["tile"]), f"{tile['error']:.4f}")
    return Group(about, Text("tiles with the largest errors: root mean square in units of h"), table)


def embedding_text(
    embedding: EmbeddingSummary,
    tiling: Tiling | None,
    layers: UnitLayers | None,
    *,
    found_now: bool | None = None,
) -> RenderableType:
    """Return the text of `embeddings show` and `find`: ``embedding``, and the chains of its ``tiling``.

    Chains are also listed by ``layers``, if known. ``found_now`` tells a new embedding from a stored one.
    """
    about = new_grid()
    about.add_row("embedding", f"{embedding.embedding_id}, {embedding.state}: {embedding.name}")
    graph = embedding.graph_id if embedding.current else f"{embedding.graph_id}, which is outdated"
    about.add_row("solver", f"{embedding.solver}: {embedding.chip}, graph {graph}")
    wanted = "as many as fit" if embedding.tiles_wanted == 0 else f"at most {embedding.tiles_wanted}"
    about.add_row("tiles", f"{_number(embedding.tiles) or 'none'}, wanted: {wanted}")
    if embedding.qubits is not None:
        about.add_row("qubits", f"{embedding.qubits:,}, longest chain {embedding.longest_chain}")
    if embedding.seconds is not None:
        origin = "" if embedding.repaired_from is None else f", from embedding {embedding.repaired_from}"
        source = {None: "", True: ", now", False: ", stored already"}[found_now]
        search = f"{embedding.seconds:.1f} s by {embedding.method}{origin}, seed {embedding.seed}{source}"
        about.add_row("search", "none: it was imported" if embedding.method == IMPORTED else search)
    about.add_row("used by", count_text(embedding.problems, "problem"))
    parts: list[RenderableType] = [about]
    if tiling is not None:
        parts += [_chain_lengths(tiling), *_by_layer(tiling, layers)]
    if embedding.error:
        parts.append(Text(embedding.error, style="red"))
    return Group(*parts)


def chain_lengths(tiling: Tiling) -> dict[int, int]:
    """Return the number of chains in ``tiling`` by their length."""
    counts = np.bincount(tiling.lengths.ravel())
    return {length: int(count) for length, count in enumerate(counts) if count}


def _chain_lengths(tiling: Tiling) -> Table:
    title = f"chains by their qubits, {tiling.lengths.mean():.2f} on average"
    numbers = ("qubits", "chains")
    table = new_table(*numbers, "share", right=numbers, title=title, first_out=("share",))
    counts = chain_lengths(tiling)
    for length, count in counts.items():
        table.add_row(str(length), f"{count:,}", "▪" * max(1, round(_BAR * count / max(counts.values()))))
    return table


def _by_layer(tiling: Tiling, layers: UnitLayers | None) -> list[Table]:
    if layers is None or len(layers.sizes) == 1:
        return []
    numbers = ("units", "mean", "longest")
    table = new_table("layer", *numbers, right=numbers, title="chains by layer of units")
    ends = np.cumsum(layers.sizes)
    for kind, size, end in zip(layers.kinds, layers.sizes, ends, strict=True):
        lengths = tiling.lengths[:, end - size : end]
        table.add_row(kind, f"{size:,}", f"{lengths.mean():.2f}", str(lengths.max()))
    return [table]


def solver_figures(uses: Sequence[QpuUse], figures: Mapping[str, Any] | None, layers: UnitLayers) -> Table:
    """Return `qpu_rows` of ``uses``, and `solver_rows` of ``figures`` and ``layers``, as a table."""
    table = new_grid()
    for name, text in qpu_rows(uses) + (solver_rows(figures, layers) if figures else []):
        table.add_row(name, text)
    return table


def qpu_rows(uses: Sequence[QpuUse]) -> list[tuple[str, str]]:
    """Return a row for each QPU in ``uses``: name, graph, problems, images, QPU time; then alarms and
    deprecations.
    """
    rows = [
        (
            "QPU",
            f"{use.qpu}, graph {use.graph_id}: {count_text(use.problems, 'problem')}, "
            f"{count_text(use.images, 'image')}, "
            f"{_time(use.qpu_time_us)}{_of_several(use) if len(uses) > 1 else ''}",
        )
        for use in uses
    ]
    rows += [("alarm", f"{use.qpu}: {use.alarm}") for use in uses if use.alarm is not None]
    return rows + [("deprecated", f"{use.qpu}: {text}") for use in uses for text in use.deprecations]


def _of_several(use: QpuUse) -> str:
    share = "" if use.time_share is None else f" ({use.time_share:.0%} of the QPU time)"
    return share + ("" if use.accuracy is None else f", accuracy {use.accuracy:.2%}")


def solver_rows(figures: Mapping[str, Any], layers: UnitLayers) -> list[tuple[str, str]]:
    """Return the QPU figures of a run by name, from its statistics ``figures`` and ``layers`` of units."""
    rows: list[tuple[str, str]] = []
    again = [(figures["problems_adopted"], "adopted"), (figures["problems_resubmitted"], "submitted again")]
    again.append((figures["duplicates"], "duplicates"))
    again.append((figures.get("problems_misprogrammed", 0), "programmed wrongly and rejected"))
    rest = ", ".join(f"{count:,} {what}" for count, what in again)
    rows.append(("problems", f"{figures['problems_sent']:,} submitted, {rest}"))
    charged = (
        f"{_time(figures['qpu_access_time_us'])}, {figures['qpu_access_time_us_per_image']:,.1f} us an image"
    )
    estimated = figures.get("qpu_estimated_us", 0.0)
    guessed = estimated_part(figures.get("qpu_charge_estimated_us"))
    rows.append(("QPU time", f"{charged}; expected: {_time(estimated)}{guessed}"))
    if wasted := figures.get("qpu_wasted_us"):
        guessed = estimated_part(figures.get("qpu_wasted_estimated_us"))
        rows.append(("wasted", f"{_time(wasted)} on duplicates, and answers lost or rejected{guessed}"))
    if times := figures.get("solver_time_us"):
        rows.append(("of it", _parts(times)))
    saved = figures.get("embedding_seconds_saved", 0.0)
    stored = (
        f"{count_text(figures['embedding_hits'], 'batch')} found it, {figures['embedding_misses']:,} waited"
    )
    rows.append(("embedding", f"{stored}; {saved:.1f} s of search saved"))
    if breaks := figures.get("chain_breaks"):
        worst = _unit(breaks["worst_unit"], layers)
        rows.append(
            (
                "chain breaks",
                f"{breaks['mean']:.2%} of reads on average, most in {worst}: {breaks['worst']:.2%}",
            )
        )
    rows += _chip_rows(figures)
    return rows


def _chip_rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the reads of a run say about its chip: each value, its spread, and what is usual."""
    rows = []
    for key, name, form in _MEASURED:
        if one := figures.get("chip", {}).get(key):
            text = f"{one['median']:{form}}, most problems {one['low']:{form}} to {one['high']:{form}}"
            if one["usual"] is not None:
                low, high = one["usual"]
                text += f"; usual {low:{form}} to {high:{form}}"
            rows.append((name, text))
    if (bias := figures.get("coupling_bias")) is not None:
        rows.append(("coupling bias", f"{bias:+.3f}: field of |J| = 1 at a qubit, which h makes up for"))
    if wrong := figures.get("problems_misprogrammed"):
        lost = _time(figures.get("qpu_misprogrammed_us", 0.0))
        rows.append(
            ("misprogrammed", f"{count_text(wrong, 'problem')}, {lost} wasted; their images were sent again")
        )
    return rows


def estimated_part(us: float | None) -> str:
    """Return the remark that ``us`` microseconds of a charge are estimated; empty if none are."""
    return f"; of which {_time(us)} estimated: the solver stated no charge" if us else ""


def _parts(times: Mapping[str, float]) -> str:
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


def _figure(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else form.format(value * factor)
