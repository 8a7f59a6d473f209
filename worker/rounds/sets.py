"""Finds out which images of a run have sets of several classes that more reads may make smaller."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import nonconformity
from schema.codecs.corruption import stored_in
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
    rule = SetRule.of(parameters, known, had, basis.plan, len(network.classes))
    return SetLimit(rule.limit)
