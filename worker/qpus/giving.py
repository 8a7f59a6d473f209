"""Gives a batch to one of the QPUs that its run may use, and records why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from schema.errors import Offline, Refused
from schema.parameters import QpuChoice
from schema.states import BatchState
from schema.tables import Batch, Run
from worker.qpus.candidates import Question, key_of, listed, read_candidates, read_work
from worker.records import batches, leases, spending
from worker.remote.prepare import prepare
from worker.scheduling import admission, circuit_breaker
from worker.scheduling.sharing import Decision, QpuCandidate, decide

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput
    from worker.sapi.choice import ChosenSolver

log = structlog.get_logger()


def give_batch(
    context: Context, lease: leases.Lease, batch_input: BatchInput, network: TrainedNetwork
) -> BatchInput:
    """Return ``batch_input`` with the QPU that it is given to, if its run names several.

    The decision is stored under ``lease``. A QPU without an embedding of ``network`` may turn out not to fit:
    then another one is chosen. The cheapest is known once those that might be cheaper have one.

    Raises:
        Refused: the network fits none of them, or there is no access.
        Offline: none of them takes problems now.
        Unavailable, Deferred: as `listed` and `prepare` say.
    """
    if not batch_input.is_shared:
        return batch_input
    parameters, solver = batch_input.parameters, batch_input.solver
    model = network.model(parameters.visible, parameters.lam)
    question = Question(solver, parameters, model, batch_input.count, batch_input.batch)
    cheapest = QpuChoice.parse(parameters.qpu).cheapest
    refusals: dict[str, str] = {}
    prepared: set[str] = set()
    while True:
        solvers = listed(context, solver, parameters)
        with leases.transaction(context.database, lease, context.settings.lease_s) as (session, now):
            admission.take_turns(session)
            candidates = read_candidates(session, context, question, solvers, refusals, now=now)
            decision = _decide(session, context, batch_input, question, candidates, now, cheapest=cheapest)
            if decision is not None:
                why = decision.why + _renamed(solvers, decision.qpu.name)
                batches.give(session, batch_input.batch, decision.qpu.name, why, now=now)
        if decision is None:
            raise _none_of(candidates)
        name = decision.qpu.name
        given = replace(batch_input, qpu=name)
        if decision.qpu.known or name in prepared:
            break
        try:
            prepare(context, solver, parameters, network, used=name)
        except Refused as error:
            refusals[name] = str(error)
            continue
        if not cheapest:
            break
        prepared.add(name)
    log.info("batch given to QPU", qpu=name, why=why)
    return given


def _decide(
    session: Session,
    context: Context,
    batch_input: BatchInput,
    question: Question,
    candidates: Sequence[QpuCandidate],
    now: datetime,
    *,
    cheapest: bool,
) -> Decision | None:
    """Return which of ``candidates`` gets the batch; it probes that one if its circuit breaker is open."""
    left_us, rest = _left(session, batch_input, candidates)
    able = list(candidates)
    while (decision := decide(able, cheapest=cheapest, left_us=left_us, rest=rest)) is not None:
        key = key_of(question, decision.qpu.name)
        broken = circuit_breaker.find(session, key, context.solvers.account(question.solver))
        if not circuit_breaker.is_open(broken, batch_input.batch, context.settings):
            break
        assert broken is not None  # noqa: S101 - for the type checker
        probes = circuit_breaker.start_probe(
            session, key, batch_input.batch, broken.failures, now=now, settings=context.settings
        )
        if probes:
            break
        barred = replace(decision.qpu, barred=broken.error)
        able = [barred if each.name == barred.name else each for each in able]
    return decision


def _left(
    session: Session, batch_input: BatchInput, candidates: Sequence[QpuCandidate]
) -> tuple[float | None, int]:
    """Return what is left of the run's budget, microseconds (None: no limit), and its images that follow."""
    run = batch_input.run
    pending = select(func.coalesce(func.sum(Batch.count), 0))
    rest = session.execute(pending.where(Batch.run_id == run, Batch.state == BatchState.PENDING)).scalar_one()
    budget_us = session.execute(select(Run.budget_us).where(Run.id == run)).scalar_one()
    if budget_us is None:
        return None, int(rest)
    work = read_work(session, batch_input.solver, but=batch_input.batch)
    unsent_us = sum(
        work[each.name].unsent.get(run, 0) * each.image_us for each in candidates if each.name in work
    )
    return budget_us - spending.of_run(session, run) - unsent_us, int(rest)


def _renamed(solvers: Sequence[ChosenSolver], name: str) -> str:
    asked = next(each.asked for each in solvers if str(each.solver.name) == name)
    return "" if asked in (None, name) else f"; solver {asked} is called {name} now"


def _none_of(candidates: Sequence[QpuCandidate]) -> Refused | Offline:
    """Return why none of ``candidates`` can be used."""
    able = [each for each in candidates if not each.refused]
    text = "; ".join(each.text for each in able or candidates)
    if not able:
        error = Refused(f"no QPU takes this run: {text}")
        error.whole_run = True
        return error
    return Offline(
        f"no QPU takes problems now: {text}. The run continues when one does, or moves with "
        "`annealq runs resume RUN --qpu OTHER`"
    )
