"""Settings that both sides share: the home folder, the database and the broker.

Order of precedence: arguments, `ANNEALQ_*` environment variables, `annealq.toml` in the current
folder, `annealq.toml` in the home folder, defaults. The values are frozen and passed in;
nothing connects at import.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schema.errors import ParameterError

# The kernel's limit for a Unix socket's path is 108 bytes with the closing zero (104 on macOS).
_SOCKET_PATH_BYTES = 100


def default_home() -> Path:
    """Return `$ANNEALQ_HOME`, or `annealq` in the user's data folder."""
    if home := os.environ.get("ANNEALQ_HOME"):
        return Path(home).expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().absolute() / "annealq"


class TomlSettings(BaseSettings):
    """Base of all settings; subclasses name their table of `annealq.toml`."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="ANNEALQ_", extra="ignore")
    toml_table: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        table = cls.model_fields["toml_table"].default
        files = (Path("annealq.toml"), default_home() / "annealq.toml")
        toml = (
            TomlConfigSettingsSource(settings_cls, file, toml_table_header=table or None) for file in files
        )
        return (init_settings, env_settings, *toml)


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

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("emulator_url")
    @classmethod
    def _endpoint(cls, url: str) -> str:
        """Add the path of SAPI, as `annealq emulator` serves it, to an address without a path."""
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


def load(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` take precedence.

    Raises:
        ParameterError: a value cannot be used; the message names it.
    """
    try:
        return Settings(**overrides)
    except (ValidationError, ValueError) as error:
        raise ParameterError(describe(error)) from None


def describe(error: ValidationError | ValueError) -> str:
    """Return one line for ``error``: each wrong setting and what is wrong with it."""
    if not isinstance(error, ValidationError):
        return f"annealq.toml cannot be read: {error}"
    lines = (f"setting {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    return "; ".join(lines)
