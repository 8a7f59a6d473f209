"""A finished calibration as a run uses it, and penalties that belong to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs.corruption import stored_in
from schema.network import weights
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Visible, fields_of, scope, words
from schema.tables import Network

# Parameters besides reads that decide how accurate reads are.
_DECISIVE = (
    "visible", "lam", "rule", "fraction", "beta", "unembedding", "chain_strength", "scale", "sweeps",
    "annealing_time_us", "anneal_schedule", "without",
)  # fmt: skip
_PAPER_LAM = 1.0  # Higham and Bedford, 3.4


@dataclass(frozen=True)
class CalibrationChoice:
    """A finished calibration, as a run uses it."""

    id: int
    name: str  # of the validation set
    images: int
    accuracy: float
    parameters: Mapping[str, Any]
    image_digests: bytes
    plans: Mapping[str, Any] | None = None  # of reads; None: an earlier version calibrated
    nonconformity: bytes | None = None  # see `schema.codecs.nonconformity`

    def differs(self, given: Mapping[str, Any]) -> list[str]:
        """Return the parameters ``given`` that decide about accuracy and had another value when compared."""
        compared = {**Parameters().to_dict(), **self.parameters}
        return [words(name) for name in _DECISIVE if name in given and given[name] != compared.get(name)]

    def complete(self, asked: Mapping[str, Any]) -> Parameters:
        """Return the parameters ``asked`` for, completed by those of the calibration."""
        choosable = {name for name, field in fields_of(Parameters).items() if scope(field).calibrated}
        fitted = {name: value for name, value in self.parameters.items() if name in choosable}
        return Parameters.from_dict({**fitted, **asked})


def own_lams(session: Session, network: int) -> dict[Visible, float | None]:
    """Return the default one-hot penalty of ``network`` by visible units; None if it follows from others.

    Raises:
        Corrupt: its weights are damaged.
    """
    query = select(Network.architecture, Network.training, Network.weights).where(Network.id == network)
    row = session.execute(query).one()
    with stored_in(f"network {network}", "train it again"):
        folded = None if row.weights is None else weights.folded_lam(row.weights)
    if row.training["transfer"] != "energy":
        return {Visible.SAMPLED: _PAPER_LAM, Visible.FOLDED: folded}
    own = Architecture.from_dict(row.architecture).training.lam
    return {Visible.SAMPLED: own, Visible.FOLDED: own if folded is None else folded}
