"""Everything that a run's page shows, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, false, or_, select
from sqlalchemy.orm import Session

from producer.calibration import queries as calibration_queries
from producer.dashboard.charts.svg_charts import TimedAmount
from producer.dashboard.report import aggregates
from producer.dashboard.report.aggregates import AggregateCache
from producer.embeddings import queries as embeddings
from producer.images.origin import DataOrigin
from producer.networks import queries as networks_queries
from producer.progress.rounds import ReadAgain, RoundUse, read_again, rounds_of
from producer.reports import certainty
from producer.reports.certainty import Certainty
from producer.runs import queries, summary
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.shards.reference import encoded_images
from schema.tables import Batch, BatchImages, Problem, Run


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
    pixels: NDArray[np.generic]
    white: int
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """An image for a page.

    Attributes:
        address: a picture of it, as a `data:` address.
        source: name of its file, if it had one.
        vector: of a vector, how many values it has and their range; None: it is a picture.
    """

    address: str
    source: str | None
    vector: str | None = None


@dataclass(frozen=True)
class Provenance:
    """The inputs of a run, with which it can be repeated; ``origin`` is None for runs of earlier versions."""

    origin: DataOrigin | None
    batch_size: int  # images in the first batch
    network: networks_queries.NetworkSummary
    calibration: calibration_queries.CalibrationSummary | None
    embeddings: tuple[embeddings.EmbeddingFacts, ...]
    content_sha256: str


@dataclass(frozen=True, eq=False)
class RunResults:
    """What changes about a run while it is worked on.

    Attributes:
        confusion: true class, predicted class or None, number of images.
        predictions: predicted class or None, number of images.
        certainty: what ranks the images.
        margins: (25,) numbers of images by margin, from 0 to 1.
        ranked: wrong and least certain images, wrong ones first.
        promise: what was promised of it, and the outcome; None without a target.
        rounds: of reads; ``again``: what the later ones did.
    """

    run: queries.RunSummary
    counts: queries.Counts
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, int | None, int], ...]
    predictions: tuple[tuple[int | None, int], ...]
    certainty: Certainty
    margins: NDArray[np.int64]
    scored: tuple[TimedAmount, ...]
    charged: tuple[TimedAmount, ...]
    ranked: tuple[queries.Classified, ...]
    promise: dict[str, Any] | None
    rounds: tuple[RoundUse, ...]
    again: ReadAgain | None  # None: it has no further rounds


@dataclass(frozen=True, eq=False)
class RunFacts(RunResults):
    """All facts about a run.

    Attributes:
        mean_scores: (K, K) in 0..100 by true class, NaN without images; None without labels.
        least_certain: the images in ``ranked``, with their pixels.
    """

    mean_scores: NDArray[np.float64] | None
    least_certain: tuple[ImageFacts, ...]
    provenance: Provenance


def read_results(
    session: Session, summary_row: queries.RunSummary, cache: AggregateCache | None = None
) -> RunResults:
    """Return the results of the run of ``summary_row`` in ``session`` so far.

    With a ``cache``, only new ones are read.
    """
    run = summary_row.run_id
    classes = queries.classes(session, run)
    if cache is None:
        known = aggregates.read(session, summary_row, len(classes))
    else:
        known = cache.read(session, summary_row, content_of(session, run), len(classes))
    counts = known.counts
    used = rounds_of(session, run) if summary_row.parameters.get("rounds") else []
    shown = (counts.decided + counts.undecided, known.probabilities, known.full_margins)
    return RunResults(
        run=summary_row,
        counts=counts,
        classes=classes,
        confusion=known.confusion,
        predictions=known.predictions,
        certainty=certainty.describe(session, run, summary_row.statistics, *shown),
        margins=known.margins,
        scored=known.scored,
        charged=_charged(session, run),
        ranked=known.least_certain,
        promise=summary.promise_values(session, summary_row, counts),
        rounds=tuple(used),
        again=read_again(session, run, used) if used else None,
    )


def read(session: Session, run: int) -> RunFacts:
    """Return everything about ``run`` in ``session``.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    results = read_results(session, queries.run(session, run))
    classes = len(results.classes)
    return RunFacts(
        **vars(results),
        mean_scores=summary.mean_scores(session, run, classes) if results.confusion else None,
        least_certain=images(session, run, results.ranked, classes),
        provenance=provenance(session, results.run),
    )


def content_of(session: Session, run: int) -> str:
    """Return the digest of the content of ``run`` in ``session``; numbers of deleted runs are used again."""
    return session.execute(select(Run.content_sha256).where(Run.id == run)).scalar_one()


def images(
    session: Session, run: int, classified: Sequence[queries.Classified], classes: int
) -> tuple[ImageFacts, ...]:
    """Return the ``classified`` images of ``run`` in ``session`` with their pixels and ``classes`` scores."""
    pixels = read_pixels(session, run, [result.image for result in classified])
    scores = scores_of(run, classified, classes)
    white = queries.white_of(session, run)
    return tuple(
        ImageFacts(result, pixels[result.image][1], pixels[result.image][0], white, row)
        for result, row in zip(classified, scores, strict=True)
    )


def scores_of(run: int, classified: Sequence[queries.Classified], classes: int) -> NDArray[np.float32]:
    """Return the (B, ``classes``) scores of B ``classified`` images of ``run``; raise Corrupt if damaged."""
    with stored_in(f"run {run}", f"score it again: `annealq runs rescore {run}`"):
        return arrays.decode_scores([result.scores for result in classified], classes)


def read_pixels(
    session: Session, run: int, images: Sequence[int]
) -> dict[int, tuple[NDArray[np.generic], str | None]]:
    """Return pixels and file name of ``images`` of ``run`` in ``session``; each batch is read once."""
    pixels: dict[int, tuple[NDArray[np.generic], str | None]] = {}
    # One query finds all batches: no index leads from an image to its batch.
    parts = select(Batch.id, Batch.first_image, Batch.count).where(Batch.run_id == run, Batch.round == 1)
    with_one = [and_(Batch.first_image <= k, Batch.first_image + Batch.count > k) for k in images]
    for batch, first, count in session.execute(parts.where(or_(false(), *with_one))).all():
        pixels |= _read_batch(session, batch, {k for k in images if first <= k < first + count})
    return pixels


def _read_batch(
    session: Session, number: int, images: set[int]
) -> dict[int, tuple[NDArray[np.generic], str | None]]:
    """Return pixels and file names of ``images`` of the run, which are in batch ``number``."""
    batch, stored = session.execute(
        select(Batch, BatchImages)
        .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.id == number)
    ).one()
    shape = arrays.read_shape(batch.shape, batch.dtype)
    with stored_in(f"batch {number} of run {batch.run_id}", "classify the images again"):
        if stored is None:
            raise Corrupt("its images are gone")
        encoded = encoded_images(stored.images, stored.reference)
        pixels = arrays.decode_images(encoded, batch.count, shape, stored.images_sha256, stored.labels)
    session.expunge(stored)  # releases its memory
    first, names = batch.first_image, stored.sources
    return {k: (pixels[k - first], None if names is None else names[k - first]) for k in images}


def _charged(session: Session, run: int) -> tuple[TimedAmount, ...]:
    rows = session.execute(
        select(Problem.answered_at, Problem.charged_us)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.charged_us > 0, Problem.answered_at.is_not(None))
        .order_by(Problem.answered_at)
    )
    return tuple(TimedAmount(when, us or 0) for when, us in rows if when is not None)


def provenance(session: Session, run: queries.RunSummary) -> Provenance:
    """Return the inputs of ``run``, read by ``session``."""
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
        embeddings=tuple(embeddings.stored(session, [key for key in used.scalars() if key is not None])),
        content_sha256=row.content_sha256,
    )
