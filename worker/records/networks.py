"""Networks from the database, loaded once in each process."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt, NotFound
from schema.network import weights
from schema.network.architecture import Architecture
from schema.states import NetworkState
from schema.tables import Network
from worker.network.trained import TrainedNetwork

_AGAIN = "import its file again, or train it with another --seed"


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
