"""Settings that both sides share: the home folder, the database, the broker and the emulator."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from schema.settings.toml import TomlSettings, default_home

# The kernel's limit for a Unix socket's path is 108 bytes with the closing zero (104 on macOS).
_SOCKET_PATH_BYTES = 100


class Settings(TomlSettings):
    """Addresses of the home folder, the database, the broker and the emulator."""

    home: Path = Field(
        default_factory=default_home, description="Folder of the local stack: database, broker, logs."
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
    )
    broker_url: str = Field(
        default="", description="Celery URL of Redis or Valkey: redis://HOST:6379/0 or redis+socket:///PATH."
    )

    reference_folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders whose files batches may name instead of holding their images; as PATH, "
        "separated by colons.",
    )

    emulator_url: str = Field(
        default="", description="URL of an emulator of D-Wave's solvers, if there is one."
    )
    emulator_token: str = Field(
        default="annealq",
        repr=False,
        description="Token of the emulator; it accepts any unless it was started with one.",
    )

    emulator_chips: str = Field(
        default="",
        description="Chips of a stack's emulator, such as advantage-system6,advantage2-system1.",
    )

    @field_validator("reference_folders", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = value.split(os.pathsep) if isinstance(value, str) else value
        return tuple(Path(part).expanduser().resolve() for part in parts if str(part).strip())

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("emulator_url")
    @classmethod
    def _endpoint(cls, url: str) -> str:
        """Add the path of SAPI, as `annealq emulator` serves it, to an address without a path."""
        if url and not _is_http(url):
            raise ValueError(f"{url[:100]!r} is not a URL: give http://HOST:PORT")
        return url.rstrip("/") + "/sapi/v2/" if url and urlsplit(url).path in ("", "/") else url

    def model_post_init(self, _context: Any, /) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{quote(str(self.home / 'annealq.db'))}")
        if not self.broker_url:
            object.__setattr__(self, "broker_url", f"redis+socket://{quote(str(socket_path(self.home)))}")


def socket_path(home: Path) -> Path:
    """Return the path of the private broker's Unix socket for ``home``, at most 100 bytes long."""
    path = home / "broker" / "broker.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"annealq-{os.getuid()}-{digest}" / "broker.sock"


def _is_http(url: str) -> bool:
    """Return whether ``url`` is one of http or https with a host, and a port from 1 to 65,535 if any."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
