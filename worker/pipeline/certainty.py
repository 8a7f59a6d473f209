"""Computes how reliable the probabilities and the sets of classes of a finished run are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from schema.codecs.corruption import stored_in
from schema.parameters import Parameters
from worker.compute.certainty import balance, guarantee, probabilities
from worker.context import Context
from worker.records import runs
from worker.records.certainty import guarantees, labelled


def certainty_of(context: Context, run: int) -> dict[str, Any]:
    """Return what the statistics of ``run`` in ``context`` say about its certainty.

    Raises:
        Corrupt: stored probabilities or sets are damaged, or the calibration is.
    """
    with context.database.reading() as session:
        losses = probabilities.losses(labelled.probabilities(session, run))
        counts = labelled.class_counts(session, run)
        classes = balance.class_balance(counts, labelled.probabilities(session, run))
        parameters = runs.parameters_of(session, run)
        sets = None if parameters.confidence is None else _guarantee(context, session, run, parameters)
    return {
        "negative_log_likelihood": None if losses is None else losses.negative_log_likelihood,
        "brier_score": None if losses is None else losses.brier_score,
        "class_balance": None if classes is None else asdict(classes),
        "guarantee": sets,
    }


def _guarantee(context: Context, session: Session, run: int, parameters: Parameters) -> dict[str, Any] | None:
    """Return the coverage and the sizes of the sets of ``run``, and what voids their guarantee."""
    basis = guarantees.basis_of(session, run)
    if basis is None:
        return None
    sizes = labelled.set_sizes(session, run)
    covered = guarantee.coverage(labelled.class_sets(session, run), basis.classes)
    past = [] if basis.sampled_by is None else guarantees.measured_of(session, basis.sampled_by)
    now = guarantees.measured_of(session, run)
    with stored_in(f"calibration {basis.calibration}", "calibrate again"):
        shared = guarantee.shared_images(guarantees.images_of(session, run), basis)
    images = sum(sizes.values())
    return {
        "confidence": parameters.confidence,
        "by_class": parameters.by_class,
        "calibration": basis.calibration,
        "images": basis.images,
        "age_s": (basis.run_at - basis.calibrated_at).total_seconds(),
        "noise": guarantee.noise(past, now),
        "labelled": covered.images,
        "covered": covered.covered,
        "coverage": covered.share,
        "coverage_interval": covered.interval,
        "mean_set_size": sum(size * count for size, count in sizes.items()) / images if images else None,
        "set_sizes": {str(size): count for size, count in sizes.items()},
        "voided": guarantee.reasons(basis, shared, past, now, context.settings.calibration_days),
    }
