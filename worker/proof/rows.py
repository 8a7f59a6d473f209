"""Reads the rows of a run from SQL as the documents of a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased, defer

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import InputError, NotFound
from schema.states import FINISHED_RUNS, ProblemState
from schema.tables import (
    Batch,
    BatchImages,
    Calibration,
    Chip,
    Classification,
    Embedding,
    Network,
    Problem,
    Run,
    SampleSet,
    Spending,
)
from worker.proof.documents import (
    BatchDocument,
    CalibrationDocument,
    ChipDocument,
    Document,
    EmbeddingDocument,
    NetworkDocument,
    ProblemDocument,
    RunDocument,
)
from worker.records.batches import Scored

Kind = TypeVar("Kind", bound=Document)


@dataclass(frozen=True, eq=False)
class StoredRun:
    """The rows of a run: documents, and the bytes and row ids that belong to them, in the same order."""

    run: RunDocument
    network: NetworkDocument
    weights: bytes
    calibration: CalibrationDocument | None
    nonconformity: bytes | None
    chips: list[ChipDocument]
    graphs: list[bytes]
    embeddings: list[EmbeddingDocument]
    tilings: list[bytes]
    batches: list[BatchDocument]
    batch_ids: list[int]
    problems: list[ProblemDocument]
    problem_ids: list[int]


def read(session: Session, run: int) -> StoredRun:
    """Read ``run`` from ``session``, without features, images, reads and results.

    Raises:
        NotFound: there is no such run.
        InputError: it is not finished, or its reads were removed.
        Corrupt: what is stored is damaged.
    """
    row = session.get(Run, run)
    if row is None:
        raise NotFound(f"run {run} does not exist: `annealq runs list`")
    if row.state not in FINISHED_RUNS or row.finished_at is None:
        raise InputError(f"run {run} is {row.state}: bundle it when it is finished")
    source = row.rescored_from or run
    network = session.get_one(Network, row.network_id)
    batches = _batches(session, run, source)
    problems = _problems(session, source)
    calibration = None if row.calibrated_by is None else session.get_one(Calibration, row.calibrated_by)
    used = {b.embedding_id for b, _, _ in batches} | {p.embedding_id for p, _, _ in problems}
    embeddings = session.execute(
        select(Embedding).where(Embedding.id.in_(sorted(used - {None}))).order_by(Embedding.id)
    ).scalars().all()  # fmt: skip
    chips = session.execute(
        select(Chip).where(Chip.id.in_({each.chip_id for each in embeddings})).order_by(Chip.id)
    ).scalars().all()  # fmt: skip
    chip_index = {chip.id: k for k, chip in enumerate(chips)}
    index = {embedding.id: k for k, embedding in enumerate(embeddings)}
    ordinals = {ordinal: k for k, (batch, _, _) in enumerate(batches) for ordinal in [batch.ordinal]}
    return StoredRun(
        run=_run(session, row, f"{network.name}@{network.version}"),
        network=_document(NetworkDocument, network),
        weights=network.weights or b"",
        calibration=None if calibration is None else _document(CalibrationDocument, calibration),
        nonconformity=None if calibration is None else calibration.nonconformity,
        chips=[_document(ChipDocument, chip) for chip in chips],
        graphs=[chip.graph for chip in chips],
        embeddings=[_document(EmbeddingDocument, each, chip=chip_index[each.chip_id]) for each in embeddings],
        tilings=[each.tiling or b"" for each in embeddings],
        batches=[_batch(batch, images, reads, index) for batch, images, reads in batches],
        batch_ids=[batch.id for batch, _, _ in batches],
        problems=[_problem(each, ordinals[ordinal], reads, index) for each, ordinal, reads in problems],
        problem_ids=[each.id for each, _, _ in problems],
    )


def read_results(session: Session, run: int) -> dict[int, Scored]:
    """Read from ``session`` the results of ``run``, by image; raise InputError if they are too old."""
    names = [field.name for field in fields(Scored)]
    columns = [getattr(Classification, name) for name in names]
    query = select(Classification.image, *columns).where(Classification.run_id == run)
    found = {row.image: Scored(*row[1:]) for row in session.execute(query)}
    if any(row.reads is None for row in found.values()):
        raise InputError(
            f"run {run} was scored by an earlier version: `annealq runs rescore {run}`, and bundle that run"
        )
    return found


def read_reads(session: Session, problem: int) -> bytes:
    """Read from ``session`` the raw reads of ``problem``, which is answered."""
    query = select(SampleSet.data).where(SampleSet.problem_id == problem)
    return session.execute(query).scalar_one()


@cache
def sources_sha256() -> str:
    """Return the SHA-256 of the source code that computes results: of `schema` and `worker`."""
    state = hashlib.sha256()
    for package in ("schema", "worker"):
        for name, file in sorted(_sources(files(package), package)):
            state.update(f"{name}\n".encode() + hashlib.sha256(file).digest())
    return state.hexdigest()


def _sources(folder: Traversable, name: str) -> list[tuple[str, bytes]]:
    found = []
    for each in folder.iterdir():
        path = f"{name}/{each.name}"
        if each.is_dir() and each.name != "__pycache__":
            found += _sources(each, path)
        elif each.name.endswith(".py"):
            found.append((path, each.read_bytes()))
    return found


def _batches(session: Session, run: int, source: int) -> list[Any]:
    """Return rows (batch, its images without pixels, reads of the batch that was sampled for it)."""
    sampled = aliased(Batch)
    query = (
        select(Batch, BatchImages, sampled.reads)
        .join(BatchImages, BatchImages.batch_id == Batch.id)
        .join(sampled, (sampled.run_id == source) & (sampled.ordinal == Batch.ordinal))
        .where(Batch.run_id == run)
        .options(defer(BatchImages.images))
        .order_by(Batch.ordinal)
    )
    return list(session.execute(query))


def _problems(session: Session, source: int) -> list[Any]:
    """Return rows (problem, ordinal of its batch, reads or None) in the order of the ledger."""
    query = (
        select(Problem, Batch.ordinal, SampleSet.reads)
        .join(Batch, Batch.id == Problem.batch_id)
        .outerjoin(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == source)
        .options(defer(Problem.chain_breaks))
        .order_by(Problem.id)
    )
    rows = list(session.execute(query))
    if any(each.state is ProblemState.ANSWERED and reads is None for each, _, reads in rows):
        raise InputError(f"the raw reads of run {source} were removed: classify again to have a run to prove")
    return [(each, ordinal, reads if each.state is ProblemState.ANSWERED else None)
            for each, ordinal, reads in rows]  # fmt: skip


def _run(session: Session, row: Run, network: str) -> RunDocument:
    sampled = None if row.rescored_from is None else session.get_one(Run, row.rescored_from).parameters
    query = select(Spending.day, Spending.spent_us).where(Spending.run_id == row.id)
    return _document(
        RunDocument,
        row,
        sampled_with=sampled,
        network=network,
        spent_us={day.isoformat(): us for day, us in session.execute(query)},
        annealq=version("annealq"),
        sources_sha256=sources_sha256(),
    )


def _batch(row: Batch, images: BatchImages, reads: int | None, index: dict[int, int]) -> BatchDocument:
    with stored_in(f"batch {row.id} of run {row.run_id}", "classify the images again"):
        members = None if row.members is None else arrays.decode_members(row.members, row.count).tolist()
        labels = None if images.labels is None else arrays.decode_labels(images.labels, row.count).tolist()
    return _document(
        BatchDocument,
        row,
        sampled_reads=reads,
        members=members,
        labels=labels,
        images_sha256=images.images_sha256,
        embedding=None if row.embedding_id is None else index[row.embedding_id],
    )


def _problem(row: Problem, batch: int, reads: int | None, index: dict[int, int]) -> ProblemDocument:
    embedding = None if row.embedding_id is None else index[row.embedding_id]
    return _document(ProblemDocument, row, batch=batch, embedding=embedding, reads=reads)


def _document(kind: type[Kind], row: Any, **others: Any) -> Kind:
    """Return the columns of ``row`` that ``kind`` has, but for ``others``, whose values are given."""
    values = {name: _plain(getattr(row, name)) for name in kind.model_fields if name not in others}
    return kind.model_validate(values | others)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value
