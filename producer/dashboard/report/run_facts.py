"""Everything that a run's page shows, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from producer.calibration import queries as calibration_queries
from producer.dashboard.charts.svg_charts import TimedAmount
from producer.embeddings import queries as embeddings
from producer.images.imageset import DataOrigin
from producer.networks import queries as networks_queries
from producer.reports import certainty
from producer.reports.certainty import Certainty
from producer.runs import queries, summary
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.network.architecture import Architecture
from schema.tables import Batch, BatchImages, Classification, Network, Problem, Run

LEAST_CERTAIN = 24  # images
MARGIN_BINS = 25


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """An image of a run and its consensus.

    Attributes:
        pixels: (H, W) uint8, from 0 to ``white``.
        white: largest value of a pixel that the network takes.
        scores: (K,) float32.
    """

    result: queries.Classified
    source: str | None
    pixels: NDArray[np.uint8]
    white: int
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Provenance:
    """The inputs of a run, with which it can be repeated; ``origin`` is None for runs of earlier versions."""

    origin: DataOrigin | None
    batch_size: int  # images in the first batch
    network: networks_queries.NetworkSummary
    calibration: calibration_queries.CalibrationSummary | None
    embeddings: tuple[embeddings.EmbeddingSummary, ...]
    content_sha256: str


@dataclass(frozen=True, eq=False)
class RunFacts:
    """All facts about a run.

    Attributes:
        confusion: true class, predicted class or None, number of images.
        predictions: predicted class or None, number of images.
        mean_scores: (K, K) in 0..100 by true class, NaN without images; None without labels, or if not
            wanted.
        certainty: what ranks the images.
        margins: (25,) numbers of images by margin, from 0 to 1.
    """

    run: queries.RunSummary
    counts: queries.Counts
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, int | None, int], ...]
    predictions: tuple[tuple[int | None, int], ...]
    mean_scores: NDArray[np.float64] | None
    certainty: Certainty
    margins: NDArray[np.int64]
    scored: tuple[TimedAmount, ...]
    charged: tuple[TimedAmount, ...]
    least_certain: tuple[ImageFacts, ...]
    provenance: Provenance


def read(session: Session, run: int, *, scores: bool = True) -> RunFacts:
    """Return everything about ``run`` in ``session``.

    Mean ``scores``, for which every image is read, are optional.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    summary_row = queries.run(session, run)
    classes = queries.classes(session, run)
    confusion = tuple(queries.confusion(session, run))
    return RunFacts(
        run=summary_row,
        counts=queries.counts(session, run),
        classes=classes,
        confusion=confusion,
        predictions=tuple(queries.predictions(session, run)),
        mean_scores=summary.mean_scores(session, run, len(classes)) if confusion and scores else None,
        certainty=certainty.read(session, run, summary_row.statistics),
        margins=_margins(session, run),
        scored=_scored(session, run),
        charged=_charged(session, run),
        least_certain=least_certain(session, run, len(classes)),
        provenance=_provenance(session, summary_row),
    )


def least_certain(
    session: Session, run: int, classes: int, limit: int = LEAST_CERTAIN
) -> tuple[ImageFacts, ...]:
    """Return the ``limit`` wrong and least certain images of ``run`` in ``session``, wrong ones first.

    At most half of them are undecided; ``classes`` is the number of classes.
    """
    undecided = classified(session, run, limit // 2, Classification.predicted.is_(None))
    decided = classified(session, run, limit - len(undecided), Classification.predicted.is_not(None))
    return images(session, run, undecided + decided, classes)


def classified(
    session: Session, run: int, limit: int, condition: ColumnElement[bool]
) -> list[queries.Classified]:
    """Return ``limit`` images of ``run`` in ``session`` that meet ``condition``, the least certain first."""
    rows = session.execute(
        select(*queries.CLASSIFIED)
        .where(Classification.run_id == run, condition)
        .order_by(*certainty.least_certain_first())
        .limit(limit)
    )
    return [queries.Classified(*row) for row in rows]


def images(
    session: Session, run: int, classified: Sequence[queries.Classified], classes: int
) -> tuple[ImageFacts, ...]:
    """Return the ``classified`` images of ``run`` in ``session`` with their pixels and ``classes`` scores."""
    numbers = {result.image for result in classified}
    pixels: dict[int, tuple[NDArray[np.uint8], str | None]] = {}
    for result in classified:
        if result.image not in pixels:
            pixels |= _read_batch(session, run, result.image, numbers)
    with stored_in(f"run {run}", f"score it again: `annealq runs rescore {run}`"):
        scores = arrays.decode_scores([result.scores for result in classified], classes)
    white = _white(session, run)
    return tuple(
        ImageFacts(result, pixels[result.image][1], pixels[result.image][0], white, row)
        for result, row in zip(classified, scores, strict=True)
    )


def _read_batch(
    session: Session, run: int, image: int, numbers: set[int]
) -> dict[int, tuple[NDArray[np.uint8], str | None]]:
    """Return pixels and file names of the images ``numbers`` in the batch of ``image``."""
    batch, stored = session.execute(
        select(Batch, BatchImages)
        .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.first_image <= image)
        .order_by(Batch.first_image.desc())
        .limit(1)
    ).one()
    shape = (batch.count, batch.height, batch.width)
    with stored_in(f"batch {batch.id} of run {run}", "classify the images again"):
        if stored is None:
            raise Corrupt("its images are gone")
        pixels = arrays.decode_images(stored.images, shape, stored.images_sha256, stored.labels)
    session.expunge(stored)  # releases its memory
    first, names = batch.first_image, stored.sources
    return {
        k: (pixels[k - first], None if names is None else names[k - first])
        for k in numbers
        if first <= k < first + batch.count
    }


def _white(session: Session, run: int) -> int:
    architecture = session.execute(
        select(Network.architecture).join(Run, Run.network_id == Network.id).where(Run.id == run)
    ).scalar_one()
    return Architecture.from_dict(architecture).input.image_max


def _margins(session: Session, run: int) -> NDArray[np.int64]:
    at_least = [func.count(case((Classification.margin >= k / MARGIN_BINS, 1))) for k in range(MARGIN_BINS)]
    row = session.execute(select(*at_least).where(Classification.run_id == run)).one()
    counts = np.array([*row, 0], dtype=np.int64)
    return counts[:-1] - counts[1:]


def _scored(session: Session, run: int) -> tuple[TimedAmount, ...]:
    rows = session.execute(
        select(Batch.scored_at, Batch.count)
        .where(Batch.run_id == run, Batch.scored_at.is_not(None))
        .order_by(Batch.scored_at)
    )
    return tuple(TimedAmount(when, count) for when, count in rows if when is not None)


def _charged(session: Session, run: int) -> tuple[TimedAmount, ...]:
    rows = session.execute(
        select(Problem.answered_at, Problem.charged_us)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.charged_us > 0, Problem.answered_at.is_not(None))
        .order_by(Problem.answered_at)
    )
    return tuple(TimedAmount(when, us or 0) for when, us in rows if when is not None)


def _provenance(session: Session, run: queries.RunSummary) -> Provenance:
    row = session.execute(
        select(Run.network_id, Run.content_sha256, Run.rescored_from, Run.data).where(Run.id == run.run_id)
    ).one()
    used = session.execute(
        select(Problem.embedding_id)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == (row.rescored_from or run.run_id), Problem.embedding_id.is_not(None))
        .distinct()
        .order_by(Problem.embedding_id)
    )
    calibration = run.calibrated_by
    return Provenance(
        origin=None if row.data is None else DataOrigin.from_dict(row.data),
        batch_size=session.execute(
            select(Batch.count).where(Batch.run_id == run.run_id).order_by(Batch.ordinal).limit(1)
        ).scalar_one(),
        network=networks_queries.network(session, row.network_id),
        calibration=None if calibration is None else calibration_queries.get(session, calibration),
        embeddings=tuple(embeddings.embedding(session, key) for key in used.scalars() if key is not None),
        content_sha256=row.content_sha256,
    )
