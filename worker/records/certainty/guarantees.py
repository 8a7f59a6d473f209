"""Reads what the guarantee of a run's sets of classes rests on: its calibration, and its images and chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.nonconformity import ReadsHad, plan_name
from schema.shards.reference import encoded_images
from schema.tables import Batch, BatchImages, Calibration, Embedding, Network, Problem, Run, SampleSet
from schema.tables.runs import is_answered


@dataclass(frozen=True, eq=False)
class SetBasis:
    """What sets of classes are made by.

    Attributes:
        nonconformity: of its calibration, encoded.
        plan: of the reads of the whole run, by name.
        had: reads that images had so far. While the run has rounds to come, the limits are those that its
            parameters say; its sets are provisional.
    """

    calibration: int
    nonconformity: bytes
    plan: str
    had: ReadsHad


@dataclass(frozen=True, eq=False)
class GuaranteeBasis:
    """The calibration of a run, and what of it and of the run decides whether its guarantee holds.

    Attributes:
        run_graph_ids: graphs that the problems of the run were sent to.
        run_at: when the run whose reads it uses was enqueued.
        classes: number of the network's classes.
    """

    calibration: int
    nonconformity: bytes | None
    image_digests: bytes
    images: int
    graph_id: str
    calibrated_at: datetime
    sampled_by: int | None  # the run of the calibration that its parameters were chosen from
    run_at: datetime
    classes: int
    run_graph_ids: frozenset[str]


@dataclass(frozen=True)
class MeasuredChip:
    """What was measured of a good problem."""

    measured: dict[str, Any]
    reads: int
    values: int  # of its units, in one read: images times units


def set_basis_of(
    session: Session, run: int, parameters: Mapping[str, Any], number: int | None = None
) -> SetBasis | None:
    """Read from ``session`` what sets of classes of ``run`` with ``parameters`` are made by after a round.

    None without a confidence, or without a calibration that has nonconformity.

    Args:
        number: of the round; None: the last that the parameters have.
    """
    if parameters.get("confidence") is None:
        return None
    query = select(Calibration.id, Calibration.nonconformity).join(Run, Run.calibrated_by == Calibration.id)
    row = session.execute(query.where(Run.id == run)).first()
    if row is None or row.nonconformity is None:
        return None
    return make_set_basis(row.id, row.nonconformity, parameters, number)


def make_set_basis(
    calibration: int, nonconformity: bytes, parameters: Mapping[str, Any], number: int | None = None
) -> SetBasis:
    """Return what sets of classes of a run with ``parameters`` are made by after round ``number``.

    ``nonconformity`` is that of its ``calibration``, encoded.
    """
    rounds = (parameters.get("rounds") or [])[: None if number is None else number - 1]
    later = tuple((int(reads), float(gap)) for reads, gap, *_ in rounds)
    had = ReadsHad(int(parameters["reads"]), later)
    return SetBasis(calibration, nonconformity, plan_name(parameters), had)


def basis_of(session: Session, run: int) -> GuaranteeBasis | None:
    """Read from ``session`` what the guarantee of ``run`` rests on; None without a calibration."""
    query = select(Calibration, Run.rescored_from, Network.classes)
    query = query.join(Run, Run.calibrated_by == Calibration.id).join(Network, Network.id == Run.network_id)
    row = session.execute(query.where(Run.id == run)).first()
    if row is None or row.Calibration.finished_at is None:
        return None
    sampled = row.rescored_from or run
    enqueued = session.execute(select(Run.created_at).where(Run.id == sampled)).scalar_one()
    graphs = select(Problem.graph_id).join(Batch, Batch.id == Problem.batch_id)
    graphs = graphs.where(Batch.run_id == sampled, Problem.graph_id.is_not(None)).distinct()
    calibration = row.Calibration
    return GuaranteeBasis(
        calibration=calibration.id,
        nonconformity=calibration.nonconformity,
        image_digests=calibration.image_digests,
        images=calibration.images,
        graph_id=calibration.graph_id,
        calibrated_at=calibration.finished_at,
        sampled_by=_chosen_run(calibration.measured),
        run_at=enqueued,
        classes=len(row.classes),
        run_graph_ids=frozenset(graph or "" for graph in session.execute(graphs).scalars()),
    )


def measured_of(session: Session, run: int) -> list[MeasuredChip]:
    """Read from ``session`` what was measured of the good problems whose reads ``run`` uses."""
    source = session.execute(select(Run.rescored_from).where(Run.id == run)).scalar() or run
    query = select(Problem.measured, SampleSet.reads, Problem.count.label("images"), Embedding.units)
    query = query.join(SampleSet, SampleSet.problem_id == Problem.id)
    query = query.join(Embedding, Embedding.id == Problem.embedding_id)
    query = query.join(Batch, Batch.id == Problem.batch_id).where(
        Batch.run_id == source, is_answered(), Problem.measured.is_not(None)
    )
    rows = session.execute(query.order_by(Problem.id))
    return [MeasuredChip(row.measured or {}, row.reads, row.images * row.units) for row in rows]


def images_of(session: Session, run: int) -> Iterator[tuple[bytes, int]]:
    """Yield from ``session`` the encoded images of each first batch of ``run``, and their number."""
    query = select(Batch).where(Batch.run_id == run, Batch.members.is_(None)).order_by(Batch.ordinal)
    for batch in session.execute(query).scalars().all():
        stored = session.get(BatchImages, batch.id)
        if stored is not None:
            shape = arrays.read_shape(batch.shape, batch.dtype)
            encoded = encoded_images(stored.images, stored.reference)
            yield arrays.read_images(encoded, batch.count, shape), batch.count
            session.expunge(stored)  # releases its memory


def _chosen_run(measured: dict[str, Any] | None) -> int | None:
    """Return the run of a calibration that its parameters were chosen from; None by an earlier version."""
    found = measured or {}
    if "chosen" not in found or "candidates" not in found:
        return None
    run: int | None = found["candidates"][found["chosen"][0]].get("run")
    return run
