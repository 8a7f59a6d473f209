"""Says in words what a search for an embedding does, and how long it may take at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from schema.quantities import duration_text
from schema.states import EmbeddingState, ProblemState
from schema.tables.embeddings import Chip, Embedding
from schema.tables.runs import Batch, Network, Problem

# What a worker does in each step, which it reports by these names.
STEPS = {
    "reuse": "placing the copies of a known embedding",
    "repair": "repairing copies whose qubits are broken",
    "construct": "constructing chains along the lines of the chip",
    "shapes": "looking for shapes of a copy that can be repeated",
    "pack": "packing copies of these shapes",
    "minorminer": "searching the whole chip for one copy",
    "fill": "adding copies on free qubits",
    "improve": "replacing copies by smaller ones, so that more fit",
    "done": "checking what was found",
}
_REACHED = (ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)


def search_text(progress: Mapping[str, Any] | None) -> str:
    """Return what a search does by the ``progress`` that it reports, and its time.

    >>> search_text({"step": "fill", "fraction": 0.2, "limit_s": 60.0})
    'adding copies on free qubits, 12 s of 60 s at most'
    >>> search_text({"step": "fill", "fraction": 0.2})
    'adding copies on free qubits, 20 % of its time limit'
    >>> search_text({"step": "done", "fraction": 1.0, "limit_s": 60.0})
    'checking what was found'
    >>> search_text(None)
    'connecting to the solver'
    """
    if progress is None:
        return "connecting to the solver"
    step, share, limit_s = str(progress["step"]), float(progress["fraction"]), progress.get("limit_s")
    if step == "done":  # its fraction is 1, however early the search ended
        return STEPS[step]
    if limit_s is None:
        of_limit = f"{share:.0%}".replace("%", " %") + " of its time limit"
    else:
        of_limit = f"{duration_text(share * limit_s)} of {duration_text(limit_s)} at most"
    return f"{STEPS.get(step, step)}, {of_limit}"


def search_of(session: Session, run: Row[Any]) -> Mapping[str, Any] | None:
    """Return the progress of the search in ``session`` that ``run`` waits for; None: it waits for none.

    Args:
        run: id, network_id, solver and parameters of a run on a solver with qubits.
    """
    problems = select(Problem.id).join(Batch, Batch.id == Problem.batch_id)
    if session.execute(problems.where(Batch.run_id == run.id, Problem.state.in_(_REACHED)).limit(1)).first():
        return None
    architecture = session.execute(
        select(Network.architecture).where(Network.id == run.network_id)
    ).scalar_one()
    # The name that a worker gives to the embedding: network, visible units, and the sizes of its layers.
    name = f"{architecture['name']} {run.parameters.get('visible')} ("
    searches = (
        select(Embedding.progress)
        .join(Chip, Chip.id == Embedding.chip_id)
        .where(Embedding.state == EmbeddingState.SEARCHING, Chip.solver == run.solver)
        .where(Embedding.name.startswith(name, autoescape=True))
        .order_by(Embedding.id.desc())
    )
    row = session.execute(searches.limit(1)).first()
    return None if row is None else row.progress or {"step": "reuse", "fraction": 0.0}
