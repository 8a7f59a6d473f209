"""Networks from the database, loaded once in each process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema import arrays, weights
from schema.architecture import Architecture
from schema.damage import stored_in
from schema.errors import Corrupt, NotFound
from schema.states import NetworkState
from schema.tables import Network
from worker.network import features, layers, transfer
from worker.qubo.build import EnergyModel

_KEPT_MODELS = 16
_AGAIN = "import its file again, or train it with another --seed"


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that is ready: its architecture, its weights and the transfer it was trained for."""

    architecture: Architecture
    weights: weights.Weights
    transfer: str

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(B, H, W) uint8 images to (B, nv) float64 feature values."""
        return features.features(self._restored, images)

    @cached_property
    def _restored(self) -> layers.Network:
        return features.restore(self.architecture, self.weights)

    @lru_cache(maxsize=_KEPT_MODELS)  # noqa: B019 - networks live as long as their registry
    def model(self, visible: str, lam: float | None) -> EnergyModel:
        """The energy function; built once for each choice."""
        return transfer.energy_model(self.architecture, self.weights, self.transfer, visible, lam=lam)


class Registry:
    """Ready networks by id. A ready network never changes, so what is loaded stays valid."""

    def __init__(self) -> None:
        self._loaded: dict[int, TrainedNetwork] = {}

    def get(self, session: Session, network: int) -> TrainedNetwork:
        """Load a network, or return it from an earlier call.

        Raises:
            NotFound: no such network, or it is not ready.
            Corrupt: its weights do not agree with their checksum.
        """
        if network not in self._loaded:
            self._loaded[network] = _load(session, network)
        return self._loaded[network]


def _load(session: Session, network: int) -> TrainedNetwork:
    row: Any = session.execute(
        select(Network.architecture, Network.training, Network.weights, Network.weights_sha256).where(
            Network.id == network, Network.state == NetworkState.READY
        )
    ).first()
    if row is None:
        raise NotFound(f"network {network} is not there, or not ready")
    with stored_in(f"weights of network {network}", _AGAIN):
        if arrays.checksum(row.weights) != row.weights_sha256:
            raise Corrupt("they are damaged: their checksum does not agree")
    architecture = Architecture.from_dict(row.architecture)
    return TrainedNetwork(architecture, weights.decode(row.weights, architecture), row.training["transfer"])
