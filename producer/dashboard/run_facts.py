"""Everything that a run's page shows, read once, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from producer.calibration import queries as calibration_queries
from producer.embeddings import queries as embeddings
from producer.networks import queries as networks_queries
from producer.runs import queries, summary
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.tables import Batch, BatchImages, Classification, Problem, Run

LEAST_CERTAIN = 24  # images
MARGIN_BINS = 25


@dataclass(frozen=True)
class Done:
    """Something that was finished at a time: images scored, or microseconds charged."""

    at: datetime
    amount: int


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """An image of a run, and what the consensus says. pixels: (H, W) uint8. scores: (K,) float32."""

    held: queries.Classified
    source: str | None
    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Provenance:
    """What a run was made of: with these it can be repeated."""

    network: networks_queries.NetworkSummary
    calibration: calibration_queries.CalibrationSummary | None
    embeddings: tuple[embeddings.EmbeddingSummary, ...]
    content_sha256: str


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A run, whole.

    mean_scores: (K, K) in 0..100 by true class, NaN where there is none; None: no labels, or not asked for.
    margins: (25,) images by margin, from 0 to 1.
    """

    run: queries.RunSummary
    counts: queries.Counts
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, int | None, int], ...]
    predictions: tuple[tuple[int | None, int], ...]
    mean_scores: NDArray[np.float64] | None
    margins: NDArray[np.int64]
    scored: tuple[Done, ...]
    charged: tuple[Done, ...]
    least_certain: tuple[ImageFacts, ...]
    provenance: Provenance


def read(session: Session, run: int, *, scores: bool = True) -> RunFacts:
    """Everything about one run; ``scores``: also the mean scores, for which every image is read.

    Raises:
        NotFound: there is no such run. Corrupt: something that is stored for it is damaged.
    """
    found = queries.run(session, run)
    classes = queries.classes(session, run)
    confusion = tuple(queries.confusion(session, run))
    return RunFacts(
        run=found,
        counts=queries.counts(session, run),
        classes=classes,
        confusion=confusion,
        predictions=tuple(queries.predictions(session, run)),
        mean_scores=summary.mean_scores(session, run, len(classes)) if confusion and scores else None,
        margins=_margins(session, run),
        scored=_scored(session, run),
        charged=_charged(session, run),
        least_certain=least_certain(session, run, len(classes)),
        provenance=_provenance(session, found),
    )


def least_certain(
    session: Session, run: int, classes: int, limit: int = LEAST_CERTAIN
) -> tuple[ImageFacts, ...]:
    """Images with the smallest margin between the two best classes; of undecided ones at most half."""
    undecided = classified(session, run, limit // 2, Classification.predicted.is_(None))
    decided = classified(session, run, limit - len(undecided), Classification.predicted.is_not(None))
    return images(session, run, undecided + decided, classes)


def classified(
    session: Session, run: int, limit: int, chosen: ColumnElement[bool]
) -> list[queries.Classified]:
    """The classified images of a run for which ``chosen`` holds, those of the smallest margin first."""
    rows = session.execute(
        select(*queries.CLASSIFIED)
        .where(Classification.run_id == run, chosen)
        .order_by(Classification.margin, Classification.image)
        .limit(limit)
    )
    return [queries.Classified(*row) for row in rows]


def images(
    session: Session, run: int, classified: Sequence[queries.Classified], classes: int
) -> tuple[ImageFacts, ...]:
    """Classified images with their pixels."""
    found: dict[int, tuple[NDArray[np.uint8], str | None]] = {}
    for wanted in classified:
        if wanted.image not in found:
            found |= _batch_of(session, run, wanted.image, {one.image for one in classified})
    with stored_in(f"run {run}", f"score it again: `annealq runs rescore {run}`"):
        scores = arrays.decode_scores([one.scores for one in classified], classes)
    return tuple(
        ImageFacts(one, found[one.image][1], found[one.image][0], row)
        for one, row in zip(classified, scores, strict=True)
    )


def _batch_of(
    session: Session, run: int, image: int, wanted: set[int]
) -> dict[int, tuple[NDArray[np.uint8], str | None]]:
    """Pixels and file names of the wanted images in the batch that holds ``image``."""
    held, kept = session.execute(
        select(Batch, BatchImages)
        .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.first_image <= image)
        .order_by(Batch.first_image.desc())
        .limit(1)
    ).one()
    shape = (held.count, held.height, held.width)
    with stored_in(f"batch {held.id} of run {run}", "classify the images again"):
        if kept is None:
            raise Corrupt("its images are gone")
        pixels = arrays.decode_images(kept.images, shape, kept.images_sha256, kept.labels)
    session.expunge(kept)  # it is long
    first, names = held.first_image, kept.sources
    return {
        k: (pixels[k - first], None if names is None else names[k - first])
        for k in wanted
        if first <= k < first + held.count
    }


def _margins(session: Session, run: int) -> NDArray[np.int64]:
    at_least = [func.count(case((Classification.margin >= k / MARGIN_BINS, 1))) for k in range(MARGIN_BINS)]
    row = session.execute(select(*at_least).where(Classification.run_id == run)).one()
    counts = np.array([*row, 0], dtype=np.int64)
    return counts[:-1] - counts[1:]


def _scored(session: Session, run: int) -> tuple[Done, ...]:
    rows = session.execute(
        select(Batch.scored_at, Batch.count)
        .where(Batch.run_id == run, Batch.scored_at.is_not(None))
        .order_by(Batch.scored_at)
    )
    return tuple(Done(at, count) for at, count in rows if at is not None)


def _charged(session: Session, run: int) -> tuple[Done, ...]:
    rows = session.execute(
        select(Problem.answered_at, Problem.charged_us)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.charged_us > 0, Problem.answered_at.is_not(None))
        .order_by(Problem.answered_at)
    )
    return tuple(Done(at, us or 0) for at, us in rows if at is not None)


def _provenance(session: Session, run: queries.RunSummary) -> Provenance:
    row = session.execute(
        select(Run.network_id, Run.content_sha256, Run.rescored_from).where(Run.id == run.run_id)
    ).one()
    used = session.execute(
        select(Problem.embedding_id)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == (row.rescored_from or run.run_id), Problem.embedding_id.is_not(None))
        .distinct()
        .order_by(Problem.embedding_id)
    )
    fitted = run.calibrated_by
    return Provenance(
        network=networks_queries.network(session, row.network_id),
        calibration=None if fitted is None else calibration_queries.one(session, fitted),
        embeddings=tuple(embeddings.embedding(session, key) for key in used.scalars() if key is not None),
        content_sha256=row.content_sha256,
    )


def parameters_of(run: queries.RunSummary) -> dict[str, Any]:
    """What was chosen about a run, by name, without what was not."""
    return {name: value for name, value in run.parameters.items() if value is not None}
