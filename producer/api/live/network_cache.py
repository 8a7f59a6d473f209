"""The network that classifies images of some shape, remembered for a second."""

from __future__ import annotations

import contextlib
import threading

from cachetools import LRUCache, TTLCache

from producer.images.imageset import ImageSet
from producer.networks import choose
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.errors import NetworkError
from schema.shapes import ImageShape

_RECENT_S = 1.0
_MAX_NETWORKS = 1_000

_Key = tuple[str | None, ImageShape]


class NetworkCache:
    """Networks by name and shape of images; safe for use by several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._recent: TTLCache[_Key, ChosenNetwork] = TTLCache(_MAX_NETWORKS, _RECENT_S)
        self._installed: LRUCache[_Key, bool] = LRUCache(_MAX_NETWORKS)

    def choose(self, images: ImageSet, name: str | None) -> ChosenNetwork:
        """Return the network called ``name``, or the default for ``images``; install a shipped one.

        Raises:
            NetworkError: there is no such network.
            ImageError: the images do not suit a shipped network.
        """
        key = name, images.shape
        with self._lock:
            network, is_installed = self._recent.get(key), self._installed.get(key, False)
        if network is not None:
            return network
        if is_installed:
            with contextlib.suppress(NetworkError), self._database.reading() as session:
                network = choose.choose_network(session, name, images.shape)
        if network is None:
            network = choose.get_or_install_network(self._database, images, name)
        with self._lock:
            self._recent[key], self._installed[key] = network, True
        return network
