"""Computes how reliable the probabilities and the sets of classes of a finished run are."""

from __future__ import annotations

from typing import Any

from worker.compute.certainty import probabilities
from worker.context import Context
from worker.records.certainty import labelled


def certainty_of(context: Context, run: int) -> dict[str, Any]:
    """Return what the statistics of ``run`` in ``context`` say about its certainty.

    Raises:
        Corrupt: stored probabilities are damaged.
    """
    with context.database.reading() as session:
        losses = probabilities.losses(labelled.probabilities(session, run))
    return {
        "negative_log_likelihood": None if losses is None else losses.negative_log_likelihood,
        "brier_score": None if losses is None else losses.brier_score,
    }
