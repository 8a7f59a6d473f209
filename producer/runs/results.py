"""Results of a run as one flat row per image, and its images: for `runs export` and for the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from producer.runs import qpus, queries
from producer.runs.queries import RunSummary
from schema.codecs.arrays import (
    decode_class_sets,
    decode_images,
    decode_labels,
    decode_scores,
    image_numbers,
    read_shape,
)
from schema.codecs.corruption import stored_in
from schema.codecs.samples import RawReads, decode
from schema.errors import Corrupt, NotFound
from schema.shapes import ImageArray
from schema.shards.reference import encoded_images
from schema.states import FINISHED_BATCHES, FINISHED_RUNS
from schema.tables import Batch, BatchImages, Problem, Run, SampleSet

_Scores = tuple[list[float], Sequence[float | None]]
_DECODED = 1_000  # images whose scores are decoded at once

_COLUMNS: dict[str, type] = {
    "image": int,
    "source": str,
    "label": int,
    "true_class": str,
    "predicted": int,
    "predicted_class": str,
    "status": str,
    "provisional": bool,  # a later round of reads may change the row
    "reads": int,
    "probability": float,
    "energy_gap": float,
    "class_set": str,  # names as a list of JSON
    "set_size": int,
    "guarantee_void": str,  # why the guarantee of the set does not hold
    "margin": float,
    "one_hot_fraction": float,
    "chain_break_fraction": float,
    "lowest_energy": float,
    "qpu": str,
    "graph_id": str,
}


def columns(names: tuple[str, ...]) -> dict[str, type]:
    """Return names and types of a row's values, which may also be None; each class of ``names`` has a score
    and a probability.

    The types are the same for all runs: files of several runs can be read as one table.
    """
    return _COLUMNS | {f"{kind}_{name}": float for kind in ("score", "probability") for name in names}


def rows(
    session: Session,
    run: int,
    names: tuple[str, ...],
    first: int = 0,
    end: int | None = None,
    wanted: Sequence[ColumnElement[bool]] = (),
) -> Iterator[dict[str, Any]]:
    """Yield a row for each classified image of ``run`` from index ``first`` to before ``end``, in order.

    Args:
        names: class names of its network.
        wanted: further conditions, as of `producer.runs.filters.image_conditions`.
    """
    sources = queries.sources(session, run, end, first)
    ran_on = qpus.of_images(session, run, first, end)
    summary = queries.run(session, run)
    score_names, share_names = ([f"{kind}_{name}" for name in names] for kind in ("score", "probability"))
    images = queries.classified(session, run, first, end, wanted)
    for image, (scores, shares) in _with_scores(images, run, len(names)):
        row = dict(vars(image))
        row["reads"] = image.reads or summary.parameters["reads"]
        row["provisional"] = summary.is_provisional
        row["source"] = sources.get(image.image)
        row["true_class"] = None if image.label is None else names[image.label]
        row["qpu"], row["graph_id"] = ran_on.get(image.image, (None, None))
        held = class_set_of(run, image, names)
        row["class_set"] = None if held is None else json.dumps(held, ensure_ascii=False)
        row["guarantee_void"] = None if held is None else summary.guarantee_void
        row["predicted_class"] = None if image.predicted is None else names[image.predicted]
        row.update(zip(score_names, scores, strict=True))
        row.update(zip(share_names, shares, strict=True))
        yield row


def _with_scores(
    images: Iterable[queries.Classified], run: int, classes: int
) -> Iterator[tuple[queries.Classified, _Scores]]:
    """Yield each of ``images`` of ``run`` with what `_decode_scores` returns of it."""
    remaining = iter(images)
    while page := list(islice(remaining, _DECODED)):
        decoded: Iterable[_Scores]
        try:
            decoded = _decode_scores(page, classes)
        except Corrupt:  # which the error of one image names
            decoded = (_scores_of(run, image, classes) for image in page)
        yield from zip(page, decoded, strict=True)


def _scores_of(run: int, image: queries.Classified, classes: int) -> _Scores:
    with stored_in(f"image {image.image} of run {run}", f"score it again: `annealq runs rescore {run}`"):
        return _decode_scores([image], classes)[0]


def _decode_scores(images: Sequence[queries.Classified], classes: int) -> list[_Scores]:
    """Return scores and probabilities of each of ``images``; None for each class if it has no probabilities.

    Raises:
        Corrupt: some are damaged.
    """
    scores = decode_scores([image.scores for image in images], classes).tolist()
    stored = [image.probabilities for image in images]
    known = iter(decode_scores([data for data in stored if data is not None], classes).tolist())
    unknown = [None] * classes
    return [
        (its_scores, unknown if data is None else next(known))
        for its_scores, data in zip(scores, stored, strict=True)
    ]


def rows_with_images(
    session: Session,
    run: int,
    names: tuple[str, ...],
    wanted: Sequence[ColumnElement[bool]] = (),
    end: int | None = None,
) -> Iterator[tuple[dict[str, Any], NDArray[np.generic]]]:
    """Yield each row of ``run`` as `rows` does, with the values of its image; one batch is in memory.

    ``end`` is the index of the first image that is left out; None: none is.

    Raises:
        Corrupt: a batch is damaged.
    """
    numbers = select(Batch.id).where(Batch.run_id == run, Batch.round == 1).order_by(Batch.ordinal)
    for number in session.execute(numbers).scalars().all():
        batch = session.get_one(Batch, number)
        first, last = batch.first_image, batch.first_image + batch.count
        last = last if end is None else min(last, end)
        if found := list(rows(session, run, names, first, last, wanted)):
            pixels, _ = _decode(session, batch)
            yield from ((row, pixels[row["image"] - first]) for row in found)


def about(session: Session, run: RunSummary) -> dict[str, Any]:
    """Return what files of the results or images of ``run`` say about it; ``session`` reads its tags."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "tags": queries.tags(session, [run.run_id]).get(run.run_id, []),
        "network": run.network,
        "solver": run.solver,
        "parameters": run.parameters,
        "state": run.state,
        "provisional": run.is_provisional,
        "guarantee": (run.statistics or {}).get("guarantee"),
        "notes": list(run.notes),
        "created_at": run.created_at,
    }


def nested(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return ``row`` with scores and probabilities as one list each, in the order of the class ``names``."""
    scores = [row.pop(f"score_{name}") for name in names]
    shares = [row.pop(f"probability_{name}") for name in names]
    held = None if row["class_set"] is None else json.loads(row["class_set"])
    listed = None if None in shares else shares
    return {**row, "class_set": held, "scores": scores, "probabilities": listed}


def class_set_of(run: int, image: queries.Classified, names: tuple[str, ...]) -> list[str] | None:
    """Return the names of the classes in the set of ``image`` of ``run``, of all ``names``.

    None: its run has no confidence, or it was scored before it had one.

    Raises:
        Corrupt: the set is damaged.
    """
    if image.class_set is None:
        return None
    with stored_in(f"image {image.image} of run {run}", f"score it again: `annealq runs rescore {run}`"):
        held = class_names(image.class_set, names)
        if len(held) != image.set_size:
            raise Corrupt("its set of classes is damaged: it has another size than its row says")
    return held


def class_names(class_set: bytes, names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that are in the stored ``class_set``; raise Corrupt if it is damaged."""
    held = decode_class_sets([class_set], len(names))[0]
    return [name for name, is_in in zip(names, held.tolist(), strict=True) if is_in]


def probabilities_of(run: int, image: queries.Classified, classes: int) -> NDArray[np.float32] | None:
    """Return the probability of each class of ``image`` of ``run``, (``classes``,) float32.

    They are of the network itself, not of its reads. None: an earlier version scored the image.

    Raises:
        Corrupt: they are damaged.
    """
    if image.probabilities is None:
        return None
    with stored_in(f"image {image.image} of run {run}", f"score it again: `annealq runs rescore {run}`"):
        return np.asarray(decode_scores([image.probabilities], classes)[0])


def image(session: Session, run: int, index: int) -> tuple[NDArray[np.generic], int | None]:
    """Return the values of one image of ``run``, and its label, if it has one.

    Raises:
        NotFound: the run has no image of this ``index``.
        Corrupt: its batch is damaged.
    """
    batch = _batch_of(session, run, index)
    if batch is None:
        raise NotFound(f"run {run} has no image {index}; they are numbered from 0")
    pixels, labels = _decode(session, batch)
    row = index - batch.first_image
    return pixels[row], None if labels is None else int(labels[row])


def reads_of(session: Session, run: int, index: int, number: int = 1) -> RawReads | None:
    """Return the stored reads of one image of ``run`` in round ``number``, or of the whole problem that
    carried it.

    The first axis has one entry. None: the image is not sampled, or its reads were removed.
    """
    source = session.execute(select(Run.rescored_from).where(Run.id == run)).scalar() or run
    place = _place_of(session, source, index, number)
    if place is None:
        return None
    batch, row = place
    problems = select(Problem.first_image, SampleSet.data).join(SampleSet, SampleSet.problem_id == Problem.id)
    found = session.execute(
        problems.where(
            Problem.batch_id == batch.id,
            Problem.first_image <= row,
            Problem.first_image + Problem.count > row,
        )
    ).first()
    if found is None:
        return None
    with stored_in(f"reads of image {index} of run {run}", "classify the images again"):
        raw = decode(found.data)
    if raw.packed.shape[0] == 1:
        return raw
    one = slice(row - found.first_image, row - found.first_image + 1)
    occurrences = None if raw.occurrences is None else raw.occurrences[one]
    return replace(raw, packed=raw.packed[one], energies=raw.energies[one], occurrences=occurrences)


def _place_of(session: Session, run: int, index: int, number: int) -> tuple[Batch, int] | None:
    """Return the batch of round ``number`` with image ``index`` of ``run``, and its place there, if any."""
    if number == 1:
        batch = _batch_of(session, run, index)
        return None if batch is None else (batch, index - batch.first_image)
    for batch in session.execute(select(Batch).where(Batch.run_id == run, Batch.round == number)).scalars():
        with stored_in(f"batch {batch.id} of run {run}", "classify the images again"):
            numbers = image_numbers(batch.first_image, batch.count, batch.members)
        if index in numbers:
            return batch, numbers.index(index)
    return None


def _batch_of(session: Session, run: int, index: int) -> Batch | None:
    query = select(Batch).where(Batch.run_id == run, Batch.round == 1, Batch.first_image <= index)
    return session.execute(query.where(Batch.first_image + Batch.count > index)).scalar()


def images(session: Session, run: int) -> tuple[ImageArray, NDArray[np.int16] | None]:
    """Return the images of ``run`` and their labels as its network numbers them, (N,).

    Raises:
        NotFound: there is no such run.
        Corrupt: a batch is damaged.
    """
    summary = queries.run(session, run)
    batches = select(Batch).where(Batch.run_id == run, Batch.round == 1).order_by(Batch.ordinal)
    pixels, labels = [], []
    for batch in session.execute(batches).scalars():
        decoded, their_labels = _decode(session, batch)
        pixels.append(decoded)
        if their_labels is not None:
            labels.append(their_labels)
    return np.concatenate(pixels), np.concatenate(labels) if summary.labelled else None


def _decode(session: Session, batch: Batch) -> tuple[ImageArray, NDArray[np.int16] | None]:
    """Return the images of ``batch`` and their labels, (N,); raise Corrupt if they are damaged."""
    with stored_in(f"batch {batch.id} of run {batch.run_id}", "classify the images again"):
        stored = session.get(BatchImages, batch.id)
        if stored is None:
            raise Corrupt("its images are gone")
        shape = read_shape(batch.shape, batch.dtype)
        encoded = encoded_images(stored.images, stored.reference)
        pixels = decode_images(encoded, batch.count, shape, stored.images_sha256, stored.labels)
        return pixels, None if stored.labels is None else decode_labels(stored.labels, batch.count)


def first_unsettled_image(
    session: Session, run: queries.RunSummary, *, provisional: bool = False
) -> int | None:
    """Return the index of the first image of ``run`` that may still be classified, or None.

    Rows before it no longer change, and none is inserted between them: a reader that continues there later
    sees every image once. With ``provisional`` they may change in a later round of reads.
    """
    if run.state in FINISHED_RUNS:
        return None
    if run.is_provisional and not provisional:
        return 0
    unfinished = (Batch.run_id == run.run_id, Batch.round == 1, Batch.state.not_in(FINISHED_BATCHES))
    first = session.execute(select(func.min(Batch.first_image)).where(*unfinished)).scalar()
    return run.images if first is None and run.is_provisional else first
