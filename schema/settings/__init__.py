"""Settings: the home folder, the database, the broker, solvers, and limits of workers.

toml.py     where they come from
shared.py   those that both sides share
worker.py   the table `[worker]`
api.py      the table `[api]`, the API's
folders.py  the folders whose files batches may name
tokens.py   tokens of solvers, as digests
names.py    refuses unknown names, with the nearest
reading.py  reads settings, and refuses wrong values

Order of precedence: arguments, `ANNEALQ_*` environment variables, `annealq.toml` in the current folder,
`annealq.toml` in the home folder, defaults. The values are frozen and passed in; nothing connects at import.
"""

from __future__ import annotations

from schema.settings.api import ApiSettings
from schema.settings.names import TABLES
from schema.settings.reading import load, load_api, load_worker, read
from schema.settings.shared import Settings, socket_path
from schema.settings.toml import TomlSettings, default_home
from schema.settings.worker import WorkerSettings

__all__ = [
    "TABLES",
    "ApiSettings",
    "Settings",
    "TomlSettings",
    "WorkerSettings",
    "default_home",
    "load",
    "load_api",
    "load_worker",
    "read",
    "socket_path",
]
