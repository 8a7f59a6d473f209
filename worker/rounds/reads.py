"""Finds the reads of the images of a batch in all rounds of its run."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.tables import Batch, Embedding, Problem, Run, SampleSet
from schema.tables.runs import is_answered
from worker.records.batches import BatchInput, StoredReads
from worker.rounds.located_reads import Load, LocatedReads, StoredProblem, locate

if TYPE_CHECKING:
    from schema.database import Database


def find_reads(
    session: Session, batch_input: BatchInput, images: Collection[int] | None = None
) -> list[LocatedReads]:
    """Read from ``session`` where the reads are of those images of ``batch_input`` that were read again.

    A run that scores another run again uses the samples of that run: the first ones of each image, as many as
    its own rounds have reads in all. Empty, if no image was read again.

    Args:
        images: within the batch, whose reads are found in any case; None: those that were read again.

    Raises:
        Corrupt: which images are in a batch is damaged.
    """
    if batch_input.parameters.rounds is None:
        return []
    columns = (Run.rescored_from, Run.parameters["reads"].as_integer())
    rescored, reads = session.execute(select(*columns).where(Run.id == batch_input.run)).one()
    problems = _problems(session, batch_input, rescored or batch_input.run, reads)
    if images is None and all(problem.round == 1 for problem in problems):
        return []
    most = reads + sum(each.reads for each in batch_input.parameters.rounds)
    return locate(batch_input, problems, most, images)


def loader(database: Database) -> Load:
    """Return a function that reads the sample set of an answered problem from ``database``."""

    def load(problem: int) -> StoredReads:
        columns = (Problem.id, Problem.first_image, Problem.count, Problem.first_tile)
        query = select(*columns, SampleSet.data, Embedding.tiling)
        query = query.join(SampleSet, SampleSet.problem_id == Problem.id)
        query = query.outerjoin(Embedding, Embedding.id == Problem.embedding_id)
        with database.reading() as session:
            row: Any = session.execute(query.where(Problem.id == problem)).one()
        return StoredReads(*row)

    return load


def _problems(session: Session, batch_input: BatchInput, run: int, reads: int) -> list[StoredProblem]:
    """Return the answered problems of ``run`` that may have images of the batch.

    Those of the first round have ``reads`` reads of each image.
    """
    of_batch = (Batch.id, Batch.round, Batch.reads, Batch.first_image, Batch.count, Batch.members)
    sampled = select(*of_batch).where(Batch.run_id == run, Batch.sampled_at.is_not(None))
    if batch_input.round == 1:
        first, count = batch_input.first_image, batch_input.count
        here = and_(Batch.first_image < first + count, Batch.first_image + Batch.count > first)
        sampled = sampled.where(or_(Batch.round > 1, here))
    with stored_in(f"a batch of run {run}", "classify the images again"):
        batches = {
            batch: (number, of_round or reads, arrays.image_numbers(first, count, members))
            for batch, number, of_round, first, count, members in session.execute(sampled)
        }
    answered = (
        select(Problem.batch_id, Problem.id, Problem.first_image, Problem.count)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == run, is_answered())
    )
    found = []
    for batch, problem, first, count in session.execute(answered.order_by(Problem.id)):
        if batch in batches:
            number, of_round, images = batches[batch]
            found.append(StoredProblem(problem, number, of_round, images[first : first + count]))
    return found
