"""Says what each round of reads of a run did: images, reads, problems, QPU time, and classes that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from schema.quantities import count_text, number_text
from schema.states import FINISHED_BATCHES
from schema.tables import Batch, Classification, Event, Problem, Run, SampleSet
from schema.tables.costs import charged_us, round_charge, scale_charge
from schema.tables.runs import is_answered

LEFT_OUT = "round "  # events of runs that tell of a round begin with this


@dataclass(frozen=True)
class RoundUse:
    """A round of reads.

    Attributes:
        images: that it reads; ``finished`` of them are in finished batches.
        reads: of each.
        problems: that were submitted; 0 without qubits.
        qpu_time_us: their charge so far, with what was wasted.
    """

    round: int
    images: int
    finished: int
    reads: int
    problems: int
    qpu_time_us: float


@dataclass(frozen=True)
class ReadAgain:
    """What later rounds of reads did.

    Attributes:
        images: that have reads of several rounds.
        changed: of these, those with another class than by the reads of the rounds before.
        to_right, to_wrong: of these, labelled ones whose class is right now, or was.
        qpu_time_us: of the later rounds.
        saved_us: what reading all images as often would have been charged besides; below 0: less. None:
            without qubits.
        notes: what was said when rounds began or were left out.
    """

    images: int
    changed: int
    to_right: int
    to_wrong: int
    qpu_time_us: float
    saved_us: float | None
    notes: tuple[str, ...]


def rounds_of(session: Session, run_id: int) -> list[RoundUse]:
    """Return the rounds of run ``run_id`` that have begun, read by ``session``."""
    reads = session.execute(select(Run.parameters["reads"].as_integer()).where(Run.id == run_id)).scalar_one()
    finished = case((Batch.state.in_(FINISHED_BATCHES), Batch.count), else_=0)
    batches = select(Batch.round, func.sum(Batch.count), func.sum(finished), func.max(Batch.reads))
    batches = batches.where(Batch.run_id == run_id).group_by(Batch.round).order_by(Batch.round)
    sent = select(Batch.round, func.count(), func.sum(charged_us()))
    sent = sent.join(Batch, Batch.id == Problem.batch_id).where(
        Batch.run_id == run_id, Problem.times_sent > 0
    )
    charges = {number: (count, us) for number, count, us in session.execute(sent.group_by(Batch.round))}
    found = []
    for number, images, done, of_round in session.execute(batches):
        problems, us = charges.get(number, (0, 0.0))
        charged = round_charge(us or 0.0)
        found.append(RoundUse(number, int(images), int(done), of_round or reads, problems, charged))
    return found


def read_again(session: Session, run_id: int, rounds: Sequence[RoundUse]) -> ReadAgain | None:
    """Return what the later of ``rounds`` of run ``run_id`` did; None for a run without further rounds."""
    has_rounds = Run.parameters["rounds"].as_string().is_not(None)
    if session.execute(select(Run.id).where(Run.id == run_id, has_rounds)).first() is None:
        return None
    c = Classification
    now = func.coalesce(c.predicted, -1)
    changed = (now != c.earlier_predicted).is_(True)
    figures = (
        func.count(),
        func.count(case((changed, 1))),
        func.count(case((changed & (c.label == now), 1))),
        func.count(case((changed & (c.label == c.earlier_predicted), 1))),
    )
    again = session.execute(
        select(*figures).where(c.run_id == run_id, c.earlier_predicted.is_not(None))
    ).one()
    noted = select(Event.why).where(Event.subject == "runs", Event.row == run_id)
    noted = noted.where(Event.why.startswith(LEFT_OUT)).order_by(Event.id)
    later_us = round_charge(sum(each.qpu_time_us for each in rounds if each.round > 1))
    notes = tuple(why for why in session.execute(noted).scalars() if why is not None)
    return ReadAgain(*again, later_us, _saved_us(session, run_id, rounds, later_us), notes)


def changes_text(again: ReadAgain, *, labelled: bool) -> str:
    """Return how many images changed their class; of ``labelled`` ones, how many became right or wrong."""
    text = f"{count_text(again.images, 'image')}, {again.changed:,} changed their class"
    if labelled:
        text += f": {again.to_right:,} to right, {again.to_wrong:,} to wrong"
    return text


def saved_text(again: ReadAgain, reads: int) -> str:
    """Return what was saved, or lost, against ``reads`` reads of all images."""
    saved_ms = (again.saved_us or 0.0) / 1e3
    what = f"{number_text(abs(saved_ms))} ms of QPU time"
    more = "" if saved_ms >= 0 else " more were charged"
    return f"{what}{more}, compared with {count_text(reads, 'read')} of all images"


def _saved_us(session: Session, run_id: int, rounds: Sequence[RoundUse], later_us: float) -> float | None:
    """Return what reading all images as often as in all rounds would have been charged besides."""
    query = (
        select(Problem.charged_us, Problem.timing, SampleSet.reads)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == run_id, Batch.round == 1, is_answered())
        .where(Problem.times_sent > 0)
    )
    rows = session.execute(query).all()
    if not rows or len(rounds) < 2:
        return None
    wanted = sum(each.reads for each in rounds)
    more_us = sum(
        scale_charge(us or 0.0, (timing or {}).get("qpu_programming_time"), reads, wanted) - (us or 0.0)
        for us, timing, reads in rows
    )
    return round_charge(more_us - later_us)
