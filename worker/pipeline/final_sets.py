"""Computes the sets of classes of a run by what its rounds of reads were in the end.

While a run has rounds to come, sets are made by the rounds that have begun, as its parameters say. How many
images each round read is known in the end only: budgets, shares and full problems decide. The images that
were calibrated with are followed through the same rounds then, and where that changes the limit of a set, the
sets near it are computed again, from the stored reads.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Select, or_, select, true
from sqlalchemy.orm import Session

from schema.codecs import nonconformity
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.parameters import Parameters
from schema.tables import Batch, Classification, Network, Run
from worker.compute.certainty.class_sets import SetRule
from worker.context import Context
from worker.pipeline.attempt import load_network
from worker.pipeline.features.inputs import with_inputs
from worker.records import batches, runs
from worker.records.certainty import class_sets, guarantees
from worker.records.certainty.guarantees import SetBasis
from worker.rounds import gaps, reads, several_rounds

log = structlog.get_logger()


def settle_sets(context: Context, run: int) -> Corrupt | None:
    """Store in ``context`` the sets of classes of ``run``, whose batches are all finished.

    It may be repeated: the same is stored. Return the damage in stored bytes, if there is any.
    """
    with context.database.reading() as session:
        parameters = runs.parameters_of(session, run)
        basis = guarantees.set_basis_of(session, run, parameters.to_dict())
    if basis is None or parameters.rounds is None:
        return None
    try:
        _settle(context, run, parameters, basis)
    except Corrupt as error:
        return error
    return None


def _settle(context: Context, run: int, parameters: Parameters, basis: SetBasis) -> None:
    with context.database.reading() as session:
        query = select(Network.classes).join(Run, Run.network_id == Network.id).where(Run.id == run)
        classes = len(session.execute(query).scalar_one())
        basis = replace(basis, had=gaps.reads_had(session, run, parameters))
        rules = _rules(parameters, basis, classes)
        if rules is None:
            return
        limit = max(rule.limit for rule in rules)
        images = [row.image for row in session.execute(_near(run, limit))]
        places = _places(session, run, images)
    for batch, wanted in places.items():
        with context.database.reading() as session:
            batch_input = replace(batches.load(session, batch), set_basis=basis)
            located = reads.find_reads(session, batch_input, wanted)
        network = load_network(context, batch_input.network, batch_input.parameters)
        with context.database.reading() as session:
            batch_input = with_inputs(session, context.backbones, batch_input, network.architecture)
        rows = several_rounds.score(network, batch_input, located, reads.loader(context.database))
        with context.database.transaction() as session:
            class_sets.store_sets(session, batch_input, rows)
    log.info("sets of classes settled", images=len(images))


def _rules(parameters: Parameters, basis: SetBasis, classes: int) -> list[SetRule] | None:
    """Return the rule of the run, and those that its images were scored by; None: they are the same."""
    with stored_in(f"calibration {basis.calibration}", "calibrate again"):
        known = nonconformity.decode(basis.nonconformity)
    if known.plans:  # of an earlier version: one rule for the whole run
        return None
    later = tuple((each.reads, each.gap) for each in parameters.rounds or ())
    had = [basis.had, *(replace(basis.had, later=later[:number]) for number in range(len(later) + 1))]
    rules = [SetRule.of(parameters, known, each, basis.plan, classes) for each in had]
    scores = [rule.calibrated.scores for rule in rules]
    is_one = all(all(map(np.array_equal, scores[0], other)) for other in scores)
    return None if is_one else rules


def _near(run: int, limit: float) -> Select[Any]:
    """Select the images of ``run`` without a class or with an energy gap up to ``limit``, in order."""
    c = Classification
    gap = or_(c.predicted.is_(None), c.energy_gap.is_(None), c.energy_gap <= limit)
    if not math.isfinite(limit):
        gap = true()
    return select(c.image).where(c.run_id == run, gap).order_by(c.image)


def _places(session: Session, run: int, images: Sequence[int]) -> dict[int, list[int]]:
    """Return the places of ``images``, in order, in the batches of the first round of ``run``."""
    query = select(Batch.id, Batch.first_image, Batch.count).where(Batch.run_id == run, Batch.round == 1)
    found = {}
    for batch, first, count in session.execute(query.order_by(Batch.ordinal)):
        here = images[bisect_left(images, first) : bisect_left(images, first + count)]
        if here:
            found[batch] = [image - first for image in here]
    return found
