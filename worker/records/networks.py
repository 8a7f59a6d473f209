"""Loads networks from the database, once in each process."""

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

_HINT = "import its file again, or train it with another --seed"


class Registry:
    """Cache of ready networks by id. A ready network never changes, so an entry stays valid."""

    def __init__(self) -> None:
        self._loaded: dict[int, TrainedNetwork] = {}

    def get(self, session: Session, network: int) -> TrainedNetwork:
        """Return ``network`` from the cache, or load it through ``session``.

        Raises:
            NotFound: the network does not exist or is not ready.
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
        raise NotFound(f"network {network} does not exist or is not ready")
    with stored_in(f"weights of network {network}", _HINT):
        if arrays.checksum(row.weights) != row.weights_sha256:
            raise Corrupt("they are damaged: their checksum does not agree")
    architecture = Architecture.from_dict(row.architecture)
    return TrainedNetwork(architecture, weights.decode(row.weights, architecture), row.training["transfer"])
