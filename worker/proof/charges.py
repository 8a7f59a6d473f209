"""Adds the charges of a bundle again, from the timing of the answers as they were received."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schema.states import BatchState, ProblemState
from schema.tables.costs import by_day, round_charge
from worker.compute import summary
from worker.proof import documents
from worker.proof.container.archive import DamagedPart
from worker.proof.contents import Contents
from worker.proof.documents import BatchDocument, ProblemDocument, timestamp
from worker.records.runs import BatchTimestamps, Figures, ProblemFacts
from worker.sapi.charges import charge_us

# Of the statistics, what needs the images, other runs, or the sums of SQL.
_NOT_COMPARED = {
    *("chip", "controls", "calibration_error", "reliability", "chain_breaks"),
    *("labelled_images", "correct_images"),
}


@dataclass(frozen=True)
class Charges:
    """What the problems of a bundle were charged.

    Attributes:
        stated: problems whose charge follows from the timing of their answers.
        assumed: those whose charge the solver did not state, or that were charged without an answer.
        sum_us: of all of them, with duplicates.
        wrong: charges that do not follow from the timing.
    """

    stated: int
    assumed: int
    sum_us: float
    wrong: tuple[DamagedPart, ...]


def add(contents: Contents) -> Charges:
    """Compute the charge of each problem of ``contents`` again, and compare all sums."""
    stated, assumed, wrong = 0, 0, list[DamagedPart]()
    for index, problem in enumerate(contents.problems):
        if problem.embedding is None or not problem.times_sent:
            continue
        properties = contents.chips[contents.embeddings[problem.embedding].chip].properties
        if problem.state == ProblemState.ANSWERED and not problem.charge_estimated:
            charge = charge_us(_numbers(problem.timing), properties)
            stated += 1
            if charge != problem.charged_us:
                text = f"charges {problem.charged_us} us for problem {index}, and its answer states {charge}"
                wrong.append(DamagedPart(documents.PROBLEMS, text))
        elif problem.charged_us or problem.wasted_us:
            assumed += 1
    total = sum((problem.charged_us or 0.0) + problem.wasted_us for problem in contents.problems)
    wrong += _days(contents)
    return Charges(stated, assumed, round_charge(total), tuple(wrong))


def statistics(contents: Contents) -> tuple[int, list[DamagedPart]] | None:
    """Compute the statistics of ``contents`` again; return how many figures there are, and those that differ.

    None: the run has none, or not all of its batches were scored.
    """
    said = contents.run.statistics
    if said is None or any(batch.state != BatchState.SCORED for batch in contents.batches):
        return None
    found = summary.summarise(_figures(contents))
    compared = {name: value for name, value in found.items() if name not in _NOT_COMPARED}
    wrong = [
        DamagedPart(documents.RUN, f"states {name} {said.get(name)!r:.60}, and its rows give {value!r:.60}")
        for name, value in compared.items()
        if _plain(value) != said.get(name)
    ]
    return len(compared), wrong


def _days(contents: Contents) -> list[DamagedPart]:
    """Return which days of the ledger differ from the sums of their problems."""
    if contents.run.sampled_with is not None:  # the other run has paid
        return []
    rows = [
        (
            None if problem.sending_at is None else datetime.fromisoformat(problem.sending_at),
            (problem.charged_us or 0.0) + problem.wasted_us,
        )
        for problem in contents.problems
    ]
    found = {day.isoformat(): us for day, us in by_day(rows).items() if us}
    said = {day: round_charge(us) for day, us in contents.run.spent_us.items() if us}
    days = sorted(found.keys() | said.keys())
    return [
        DamagedPart(
            documents.RUN, f"spent {said.get(day, 0.0)} us on {day}, and its problems give {found.get(day)}"
        )
        for day in days
        if found.get(day, 0.0) != said.get(day, 0.0)
    ]


def _figures(contents: Contents) -> Figures:
    own = [] if contents.run.sampled_with is not None else contents.problems
    waited = [batch for batch in contents.batches if batch.embedding_s is not None]
    used = sorted({batch.embedding for batch in waited if batch.embedding is not None})
    return Figures(
        batches=tuple(_times(batch) for batch in contents.batches),
        failed_batches=0,
        first_error=None,
        problems=tuple(_facts(contents, problem) for problem in own if problem.times_sent),
        searches_s=tuple(batch.embedding_s or 0.0 for batch in waited),
        embeddings_s=tuple(contents.embeddings[k].seconds or 0.0 for k in used),
    )


def _times(batch: BatchDocument) -> BatchTimestamps:
    return BatchTimestamps(
        images=batch.count if batch.round == 1 else 0,
        enqueued=timestamp(documents.BATCHES, batch.created_at),
        started=timestamp(documents.BATCHES, batch.started_at),
        sampled=timestamp(documents.BATCHES, batch.sampled_at),
        scored=timestamp(documents.BATCHES, batch.scored_at),
        sampling_s=(batch.sampling_us or 0) / 1e6,
    )


def _facts(contents: Contents, problem: ProblemDocument) -> ProblemFacts:
    return ProblemFacts(
        images=problem.count,
        accepted=problem.sent_at is not None,
        adopted=problem.adopted,
        times_sent=problem.times_sent,
        duplicates=problem.duplicates,
        estimated_us=problem.estimated_us or 0,
        charged_us=problem.charged_us or 0.0,
        wasted_us=problem.wasted_us,
        charge_estimated=problem.charge_estimated,
        reads=problem.reads or 0,
        timing=problem.timing,
        measured=problem.measured,
        misprogrammed=problem.measured is not None and problem.state == ProblemState.FAILED,
        round=contents.batches[problem.batch].round,
    )


def _numbers(timing: dict[str, Any] | None) -> dict[str, float]:
    numbers = {name: value for name, value in (timing or {}).items() if type(value) in (int, float)}
    return {name: float(value) for name, value in numbers.items()}


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON gives it back: tuples are lists."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
