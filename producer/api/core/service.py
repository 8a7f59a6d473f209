"""The objects that all requests of one process share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from producer.api.keys.authentication import Authenticator, LocalAccess
from producer.api.live.network_cache import NetworkCache
from producer.api.live.notifier import Notifier
from producer.api.live.progress_feed import ProgressFeed
from producer.api.live.readiness import ReadinessCheck
from producer.api.live.snapshots import Snapshots
from producer.api.load.memory import MemoryBudget
from producer.api.load.pools import Pools
from producer.api.metrics.exposition import Metrics
from producer.api.metrics.process import ProcessMetrics
from producer.intake.process import ReaderProcess
from schema.database import Database
from schema.settings import ApiSettings, Settings


@dataclass(frozen=True)
class Service:
    """Built once for each process, and stored as `app.state.service`."""

    settings: Settings
    api: ApiSettings
    database: Database
    authenticator: Authenticator
    notifier: Notifier
    progress_feed: ProgressFeed
    metrics: Metrics
    snapshots: Snapshots
    networks: NetworkCache
    pools: Pools
    bodies: MemoryBudget
    decoded: MemoryBudget
    readiness: ReadinessCheck
    reader: ReaderProcess

    @classmethod
    def build(cls, settings: Settings, api: ApiSettings, local: LocalAccess | None = None) -> Service:
        """Return a service with the database and broker of ``settings``, without connecting to them.

        ``api`` are settings of the API; ``local`` says who needs no API key, by default nobody.

        Raises:
            ParameterError: the database's URL cannot be understood.
        """
        pools = Pools(api.threads)
        database = Database(
            settings.database_url, connections=pools.threads + 2
        )  # last use of keys, waiting intakes
        bodies = MemoryBudget("bodies", api.memory // 2)
        decoded = MemoryBudget("images", api.memory)
        progress_feed = ProgressFeed(database, pools.live)
        process = ProcessMetrics(pools, (bodies, decoded), progress_feed.listeners)
        return cls(
            settings,
            api,
            database,
            Authenticator(database, pools, local or LocalAccess()),
            Notifier(settings.broker_url),
            progress_feed,
            Metrics(database, process),
            Snapshots(database, pools.live),
            NetworkCache(database),
            pools,
            bodies,
            decoded,
            ReadinessCheck(database, settings.broker_url, pools.health),
            ReaderProcess(settings, database),
        )


async def get_service(request: Request) -> Service:
    """Return the service of the application of ``request``.

    Async, because FastAPI runs other functions in a thread.
    """
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(get_service)]
