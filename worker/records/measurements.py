"""What answers say about a chip, and problems that were programmed wrongly.

The rows hold what `worker.compute.problem_checks` measured of each answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from schema.database.transitions import transition_all
from schema.states import ProblemState
from schema.tables import Batch, Problem, Run

MISPROGRAMMED = "misprogrammed: "  # the error of such a problem begins with this
_EARLIER = 50  # good problems of the same kind that the next ones are compared with
_NEWEST = 20  # problems of any kind that tell the coupling bias of a chip
_USUAL_BIAS = 0.02  # its size on D-Wave's chips, which is assumed before anything is measured
LEAST = 2  # with fewer the coupling bias is not known


@dataclass(frozen=True)
class MeasuredProblem:
    """An answered problem of a batch, and what was measured of its answer."""

    id: int
    first_image: int  # within the batch
    count: int
    measured: dict[str, Any]


def of_batch(session: Session, batch: int, least: int) -> list[MeasuredProblem]:
    """Read from ``session`` the problems of ``batch`` that may be judged: ``least`` images or more.

    Images whose problem was programmed wrongly before are not judged again.
    """
    columns = (Problem.id, Problem.first_image, Problem.count, Problem.measured)
    rows = session.execute(_measured(columns, ProblemState.ANSWERED).where(Problem.batch_id == batch))
    wrong = session.execute(
        _measured(columns, ProblemState.FAILED).where(
            Problem.batch_id == batch, Problem.error.startswith(MISPROGRAMMED)
        )
    ).all()
    again = {image for row in wrong for image in range(row.first_image, row.first_image + row.count)}
    found = [MeasuredProblem(*row) for row in rows]
    return [
        each
        for each in found
        if each.count >= least and again.isdisjoint(range(each.first_image, each.first_image + each.count))
    ]


def of_earlier(session: Session, batch: int, embedding: int, least: int) -> list[dict[str, Any]]:
    """Read from ``session`` what was measured of the newest good problems of the kind of those of ``batch``.

    They have the same ``embedding``, network and number of reads, and ``least`` images or more.
    """
    own = select(Run.network_id, Run.parameters["reads"].as_integer()).join(Batch, Batch.run_id == Run.id)
    network, reads = session.execute(own.where(Batch.id == batch)).one()
    query = _measured((Problem.measured,), ProblemState.ANSWERED)
    query = query.join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    query = query.where(
        Problem.embedding_id == embedding,
        Problem.batch_id != batch,
        Problem.count >= least,
        Run.network_id == network,
        Run.parameters["reads"].as_integer() == reads,
    )
    newest = query.order_by(Problem.id.desc()).limit(_EARLIER)
    return [measured for measured in session.execute(newest).scalars() if measured is not None]


def coupling_bias(session: Session, graph_id: str) -> float | None:
    """Read from ``session`` the field that couplers of |J| = 1 put on a qubit of the chip ``graph_id``.

    It is the mean of the newest problems, weighted by their precision, and nearer to 0 the less they say; in
    steps of 0.001. None while too few are known.
    """
    query = _measured((Problem.measured,), ProblemState.ANSWERED).where(Problem.graph_id == graph_id)
    rows = session.execute(query.order_by(Problem.id.desc()).limit(_NEWEST)).scalars()
    weights = [
        (float(row["coupling_bias"]), float(row["bias_error"]) ** -2) for row in rows if row is not None
    ]
    if len(weights) < LEAST:
        return None
    total = sum(weight for _, weight in weights) + _USUAL_BIAS**-2
    return round(sum(bias * weight for bias, weight in weights) / total, 3)


def reject(session: Session, wrong: Iterable[tuple[int, str]], *, now: datetime) -> None:
    """Record in ``session`` at ``now`` that problems were programmed ``wrong``: each one's id, and why.

    Their reads stay, and what they were charged is wasted; their images need another problem.
    """
    wasted_us = Problem.wasted_us + func.coalesce(Problem.charged_us, 0.0)
    values: dict[str, Any] = {"wasted_us": wasted_us, "charged_us": None, "answered_at": None}
    for problem, why in wrong:
        error = MISPROGRAMMED + why
        source, target = ProblemState.ANSWERED, ProblemState.FAILED
        transition_all(session, [problem], source, target, now=now, why=error, error=error, **values)


def _measured(columns: tuple[Any, ...], state: ProblemState) -> Select[Any]:
    return select(*columns).where(Problem.state == state, Problem.measured.is_not(None))
