"""What all requests share: settings, the database, the doorbell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from producer.api.core.settings import ApiSettings
from producer.api.keys.recent_callers import Admitted
from producer.api.live.notifier import Doorbell
from producer.api.live.progress_feed import Watch
from producer.api.live.prometheus_metrics import Exposition
from producer.api.live.snapshots import Snapshots
from producer.images import ImageSet
from producer.networks import choose, provide
from producer.networks.choose import ChosenNetwork
from schema.database import Database
from schema.settings import Settings

_FRESH_S = 1.0
_MOST_CHOSEN = 1_000


@dataclass(frozen=True)
class Service:
    """Made once for each process.

    is_private: only this machine can reach the API, so that it may do without keys until there is one.
    """

    settings: Settings
    api: ApiSettings
    database: Database
    doorbell: Doorbell
    watch: Watch
    exposition: Exposition
    snapshots: Snapshots
    admitted: Admitted
    is_private: bool
    _chosen: dict[tuple[str | None, int, int], tuple[float, ChosenNetwork]] = field(default_factory=dict)

    @classmethod
    def build(cls, settings: Settings, api: ApiSettings, *, is_private: bool) -> Service:
        """Connects to nothing yet; raises ParameterError when the database's URL cannot be understood."""
        database = Database(settings.database_url)
        return cls(
            settings,
            api,
            database,
            Doorbell(settings.broker_url),
            Watch(database),
            Exposition(database),
            Snapshots(database),
            Admitted(),
            is_private,
        )

    def choose_network(self, images: ImageSet, name: str | None) -> ChosenNetwork:
        """The network to classify images with. What was chosen is remembered for a second.

        Raises:
            NetworkError: there is none. ImageError: the images do not suit a shipped one.
        """
        height, width = images.images.shape[1:]
        asked = (name, int(height), int(width))
        until, chosen = self._chosen.get(asked, (0.0, None))
        if chosen is not None and time.monotonic() < until:
            return chosen
        if chosen is None:
            chosen = provide.provide(self.database, images, name)  # a shipped one is installed
        else:
            with self.database.reading() as session:
                chosen = choose.choose(session, name, height, width)
        if len(self._chosen) >= _MOST_CHOSEN:
            self._chosen.clear()
        self._chosen[asked] = time.monotonic() + _FRESH_S, chosen
        return chosen


async def of(request: Request) -> Service:
    """The service of a request's application. Async, since FastAPI sends other functions to a thread."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(of)]
