"""Reads what decides between QPUs: their properties and load, embeddings, work in flight and failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from schema.errors import NoAccess, Refused, UnknownSolver
from schema.parameters import Parameters, QpuChoice, Solver, solver_key
from schema.solver_limits import check_parameters, check_size, fewest_qubits
from schema.states import BatchState, ProblemState
from schema.tables import Batch, Problem, Run
from schema.tables.costs import IN_FLIGHT, charge_ratio
from worker.process import shutdown
from worker.records import embeddings, problems
from worker.records.embeddings import EmbeddingSize
from worker.sapi.choice import ChosenSolver, list_chosen
from worker.sapi.timing import estimate_us
from worker.scheduling import circuit_breaker
from worker.scheduling.sharing import QpuCandidate

if TYPE_CHECKING:
    from worker.context import Context
    from worker.qubo.energy_model import EnergyModel

_NEAR = (ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)


@dataclass(frozen=True)
class Work:
    """Work on a QPU: QPU time in flight, microseconds, and images of given batches that are not sent."""

    in_flight_us: float = 0.0
    unsent: Mapping[int, int] = field(default_factory=dict)  # by run


@dataclass(frozen=True, eq=False)
class Question:
    """For what a QPU is wanted: ``images`` images of ``model`` with ``parameters``, in the row ``batch``."""

    solver: Solver
    parameters: Parameters
    model: EnergyModel
    images: int
    batch: int | None = None


def listed(context: Context, solver: Solver, parameters: Parameters) -> list[ChosenSolver]:
    """Return the QPUs that ``parameters`` allow, as the service of ``solver`` lists them.

    Raises:
        Refused: no token, or names that this database has never used, and that the service does not list.
        Unavailable: the service does not answer or give access, or lists none of them any more.
    """
    choice = QpuChoice.parse(parameters.qpu)

    def graphs_of(name: str) -> Sequence[str]:
        with context.database.reading() as session:
            return embeddings.graphs_of(session, solver, name)

    directory = context.solvers.directory(solver)
    solvers = shutdown.run_interruptible(directory.solvers)
    try:
        return list_chosen(solvers, choice, graphs_of)
    except UnknownSolver as error:
        with context.database.reading() as session:
            known = problems.were_sent_to(session, solver, parameters.qpu)
        if known or choice.among_all or any(map(graphs_of, choice.names)):
            raise NoAccess(str(error)) from None
        raise


def read_candidates(
    session: Session,
    context: Context,
    question: Question,
    solvers: Sequence[ChosenSolver],
    refusals: Mapping[str, str],
    *,
    now: datetime,
) -> list[QpuCandidate]:
    """Return ``solvers`` as `sharing.decide` compares them at ``now``, by the rows in ``session``.

    Args:
        refusals: why some of them cannot take the network, by name, as searches for an embedding found.
    """
    digest, tiles = question.model.graph_digest, question.parameters.tiles or 0
    sizes = embeddings.sizes(session, question.solver, digest, tiles, now=now)
    work = read_work(session, question.solver, but=question.batch)
    begun = _begun_at(session, question.batch)
    found = []
    for chosen in solvers:
        solver = chosen.solver
        name, graph_id = str(solver.name), str(solver.graph_id or "")
        size = sizes.get(graph_id)
        try:
            if size is not None and size.error is not None:
                raise Refused(size.error)
            if name in refusals:
                raise Refused(refusals[name])
            times = _times_us(question, solver, size)
        except Refused as error:
            found.append(QpuCandidate(name, graph_id, barred=str(error), refused=True))
            continue
        ratio, here = charge_ratio(session, graph_id), work.get(name, Work())
        batch_us, image_us = (ratio * us for us in times)
        found.append(
            QpuCandidate(
                name=name,
                graph_id=graph_id,
                batch_us=batch_us,
                image_us=image_us,
                known=size is not None,
                backlog_us=here.in_flight_us + sum(here.unsent.values()) * image_us,
                load=float(solver.avg_load or 0.0),
                begun=name in begun or graph_id in begun,
                barred=None if solver.online else "offline",
            )
        )
    return [_with_breaker(session, context, question, each, now) for each in found]


def read_work(session: Session, solver: Solver, *, but: int | None = None) -> dict[str, Work]:
    """Read from ``session`` the work on each QPU of ``solver``, by name, without that of batch ``but``."""
    others = [Run.solver == solver] if but is None else [Run.solver == solver, Batch.id != but]
    estimates = func.coalesce(func.sum(Problem.estimated_us), 0)
    rows = session.execute(
        select(func.coalesce(Problem.qpu, ""), estimates)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(Run, Run.id == Batch.run_id)
        .where(Problem.state.in_(IN_FLIGHT), Problem.qpu.is_not(None), *others)
        .group_by(Problem.qpu)
    )
    in_flight = {name: float(us or 0) for name, us in rows}
    sent = func.coalesce(func.sum(case((Problem.state.in_(_NEAR), Problem.count), else_=0)), 0)
    held = session.execute(
        select(
            func.coalesce(Batch.qpu, "").label("qpu"),
            Batch.run_id,
            Batch.count.label("images"),
            sent.label("sent"),
        )
        .join(Run, Run.id == Batch.run_id)
        .outerjoin(Problem, Problem.batch_id == Batch.id)
        .where(Batch.state == BatchState.SAMPLING, Batch.qpu.is_not(None), *others)
        .group_by(Batch.id, Batch.qpu, Batch.run_id, Batch.count)
    )
    unsent: dict[str, dict[int, int]] = {}
    for row in held:
        images = unsent.setdefault(row.qpu, {})
        images[row.run_id] = images.get(row.run_id, 0) + max(row.images - int(row.sent), 0)
    names = in_flight.keys() | unsent.keys()
    return {name: Work(in_flight.get(name, 0.0), unsent.get(name, {})) for name in names}


def key_of(question: Question, qpu: str) -> str:
    """Return the key of the circuit breaker of ``qpu``."""
    return solver_key(question.solver, {"qpu": qpu})


def _times_us(question: Question, solver: Any, size: EmbeddingSize | None) -> tuple[float, float]:
    """Return the QPU time of the batch and of an image in a full problem by the timing model, microseconds.

    Without an embedding it is what is possible at best.

    Raises:
        Refused: the parameters are out of the solver's ranges, or the model does not fit its chip.
    """
    name, properties, parameters = str(solver.name), solver.properties, question.parameters
    qubits = len(properties["qubits"])
    check_parameters(name, properties, parameters)
    if size is None:
        units, interactions = question.model.units, len(question.model.edges)
        check_size(name, properties, units, interactions, qubits, len(properties["couplers"]))
        each = fewest_qubits(properties, units, interactions)
        tiles = min(max(qubits // each, 1), parameters.tiles or qubits)
        size = EmbeddingSize(tiles, tiles * each)
    full_us = estimate_us(solver, parameters, size.qubits)
    problems, rest = divmod(question.images, size.tiles)
    rest_us = estimate_us(solver, parameters, size.qubits * rest // size.tiles) if rest else 0
    return problems * full_us + rest_us, full_us / size.tiles


def _begun_at(session: Session, batch: int | None) -> set[str]:
    """Return names and graphs of the QPUs that have problems of ``batch`` in flight."""
    if batch is None:
        return set()
    query = select(Problem.qpu, Problem.graph_id)
    rows = session.execute(query.where(Problem.batch_id == batch, Problem.state.in_(IN_FLIGHT)))
    return {text for row in rows for text in row if text}


def _with_breaker(
    session: Session, context: Context, question: Question, candidate: QpuCandidate, now: datetime
) -> QpuCandidate:
    """Return ``candidate``, barred while it may not be asked again after a failure."""
    account = context.solvers.account(question.solver)
    broken = circuit_breaker.find(session, key_of(question, candidate.name), account)
    if candidate.barred is not None or broken is None or broken.retry_at <= now:
        return candidate
    wait_s = (broken.retry_at - now).total_seconds()
    return replace(candidate, barred=f"fails, and is asked again in {wait_s:.0f} s: {broken.error}")
