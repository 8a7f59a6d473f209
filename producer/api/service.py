"""What all requests share: settings, the database, the doorbell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from producer import jobs, networks
from producer.api.doorbell import Doorbell
from producer.api.exposition import Exposition
from producer.api.settings import ApiSettings
from producer.api.watch import Watch
from producer.images import ImageSet
from producer.networks import ChosenNetwork
from schema.database import Database
from schema.settings import Settings


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
    is_private: bool
    _provided: set[tuple[str | None, int, int]] = field(default_factory=set)

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
            is_private,
        )

    def choose_network(self, images: ImageSet, name: str | None) -> ChosenNetwork:
        """The network to classify images with; a shipped one is looked for once in a process's life.

        Raises:
            NetworkError: there is none. ImageError: the images do not suit a shipped one.
        """
        height, width = images.images.shape[1:]
        asked = (name, int(height), int(width))
        if asked in self._provided:
            with self.database.reading() as session:
                return networks.choose(session, name, height, width)
        chosen = jobs.provide(self.database, images, name)
        self._provided.add(asked)
        return chosen


def of(request: Request) -> Service:
    """The service of a request's application."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(of)]
