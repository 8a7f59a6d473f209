"""Compares the QPUs of a service for a whole run, without sending anything to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schema.parameters import QpuChoice
from worker.qpus.candidates import Question, listed, read_candidates
from worker.scheduling.sharing import QpuCandidate, decide, spread

if TYPE_CHECKING:
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.dry_runs import DryRunRequest


@dataclass(frozen=True)
class ComparedQpu:
    """A QPU, and what a run would take there.

    Attributes:
        known: its embedding is stored; otherwise its QPU time is the least that is possible.
        qpu_us_per_image: of an image in full problems, microseconds.
        qpu_us: of the whole run, if it were there alone.
        hours: until the run would be done there alone, after our work that is there, with its stated load.
        images: of the run that it would get now.
        why: why it gets them, or none.
    """

    qpu: str
    graph_id: str
    known: bool
    qpu_us_per_image: float | None
    qpu_us: int | None
    hours: float | None
    images: int
    why: str


def compare(
    context: Context,
    request: DryRunRequest,
    network: TrainedNetwork,
    chosen: Sequence[str],
    refusals: dict[str, str],
) -> list[ComparedQpu]:
    """Return all QPUs of the service of ``request``, those of its run first.

    Args:
        chosen: names of the QPUs that the run may use.
        refusals: why others of them do not take it, by name.
    """
    parameters, choice = request.parameters, QpuChoice.parse(request.parameters.qpu)
    model = network.model(parameters.visible, parameters.lam)
    batches, rest = divmod(request.images, request.batch_size)
    solvers = listed(context, request.solver, replace(parameters, qpu="any"))
    solvers.sort(key=lambda each: _rank(str(each.solver.name), chosen))
    with context.database.reading() as session:
        now = context.database.now(session)
        full, last = (
            read_candidates(
                session,
                context,
                Question(request.solver, parameters, model, images),
                solvers,
                refusals,
                now=now,
            )
            for images in (request.batch_size, rest)
        )
    able = [each for each in full if each.name in chosen]
    decision = decide(able, cheapest=choice.cheapest)
    counts = spread(able, batches, request.batch_size, cheapest=choice.cheapest)
    shares = {name: count * request.batch_size for name, count in counts.items()}
    if decision is not None:  # the last batch is not full
        least = min(able, key=lambda each: (each.barred is not None, shares[each.name])).name
        shares[decision.qpu.name if choice.cheapest else least] += rest
    return [
        _compared(each, batches * each.batch_us + small.batch_us, shares.get(each.name, 0), choice, chosen)
        for each, small in zip(full, last, strict=True)
    ]


def _rank(name: str, chosen: Sequence[str]) -> tuple[int, str]:
    return (list(chosen).index(name) if name in chosen else len(chosen), name)


def _compared(
    candidate: QpuCandidate, run_us: float, images: int, choice: QpuChoice, chosen: Sequence[str]
) -> ComparedQpu:
    why = candidate.barred
    if why is None and candidate.name not in chosen:
        why = "not named"
    elif why is None and images:
        why = "the least QPU time" if choice.cheapest else "done soonest" if choice.has_several else "chosen"
    elif why is None:
        why = "dearer" if choice.cheapest else "done later"
    whole = replace(candidate, batch_us=run_us)
    return ComparedQpu(
        qpu=candidate.name,
        graph_id=candidate.graph_id,
        known=candidate.known,
        qpu_us_per_image=None if candidate.refused else round(candidate.image_us, 1),
        qpu_us=None if candidate.refused else round(run_us),
        hours=None if candidate.refused else round(whole.done_s / 3600, 6),
        images=images,
        why=why,
    )
