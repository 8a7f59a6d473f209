"""Where settings come from: arguments, environment variables and `annealq.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schema.errors import ParameterError


def default_home() -> Path:
    """Return `$ANNEALQ_HOME`, or `annealq` in the user's data folder.

    Raises:
        ParameterError: the variable is set, and empty.
    """
    home = os.environ.get("ANNEALQ_HOME")
    if home is not None:
        if not home.strip():
            raise ParameterError("ANNEALQ_HOME is empty: set it to a folder, or unset it")
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
        toml = (
            TomlConfigSettingsSource(settings_cls, file, toml_table_header=table or None)
            for file in toml_files()
        )
        return (init_settings, env_settings, *toml)


def toml_files() -> tuple[Path, Path]:
    """Return the files that settings are read from; either may be absent."""
    return Path("annealq.toml"), default_home() / "annealq.toml"
