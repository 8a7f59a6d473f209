"""Finds out which images of a run have sets of several classes that more reads may make smaller."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import nonconformity
from schema.codecs.corruption import stored_in
from schema.codecs.nonconformity import ReadsHad, after_rounds
from schema.network.architecture import Architecture
from schema.parameters import Parameters
from schema.tables import Network, Run
from worker.compute.certainty.class_sets import SetRule
from worker.records.certainty import guarantees
from worker.rounds.gaps import reads_had


@dataclass(frozen=True)
class SetLimit:
    """Up to which energy gap images have sets of several classes.

    Attributes:
        gap: None: no reads are spent for sets.
        why: in words, why none are, if the run has a confidence.
    """

    gap: float | None = None
    why: str | None = None


def set_limit(session: Session, run: int, parameters: Parameters, number: int) -> SetLimit:
    """Return up to which energy gap images of ``run`` have sets of several classes before round ``number``.

    Raises:
        Corrupt: the calibration is damaged, or which images are in a batch.
        ParameterError: the calibration cannot give the confidence of the run.
    """
    basis = guarantees.set_basis_of(session, run, parameters.to_dict(), number - 1)
    if basis is None:
        return SetLimit()
    query = select(Network.architecture, Network.classes).join(Run, Run.network_id == Network.id)
    network = session.execute(query.where(Run.id == run)).one()
    if Architecture.from_dict(network.architecture).has_class_units_only(parameters.visible):
        return SetLimit(why="the energy of a class is the same in all reads, so that none change a set")
    with stored_in(f"calibration {basis.calibration}", "calibrate again"):
        known = nonconformity.decode(basis.nonconformity)
    if known.plans:
        return SetLimit(why=f"calibration {basis.calibration} is of an earlier version")
    had = reads_had(session, run, parameters, number)
    classes = len(network.classes)
    limit = SetRule.of(parameters, known, had, basis.plan, classes).limit
    wanted = (parameters.rounds or ())[number - 2]
    below = math.nextafter(max(limit, wanted.gap), math.inf)
    more = ReadsHad(had.first, (*had.later, (wanted.reads, below)))
    later_limit = SetRule.of(parameters, known, more, basis.plan, classes).limit
    before, after = (
        after_rounds(known.outcomes, each).gaps <= up_to
        for each, up_to in ((had, limit), (more, later_limit))
    )
    if is_smaller(before, after):
        return SetLimit(limit)
    return SetLimit(
        why=f"of the images of calibration {basis.calibration}, {before.mean():.1%} have a set of several "
        f"classes by as many reads, and {after.mean():.1%} after {wanted.reads:,} more"
    )


def is_smaller(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
    """Return whether fewer of the same images (N,) have several classes ``after`` more reads than ``before``.

    The difference has to be above its standard error: otherwise the reads are worth nothing.
    """
    fewer = before.astype(np.int8) - after.astype(np.int8)
    return float(fewer.mean()) > float(fewer.std()) / math.sqrt(len(fewer))
