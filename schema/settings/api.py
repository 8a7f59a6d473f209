"""Settings of the HTTP API: the table `[api]` of `annealq.toml`, or `ANNEALQ_API_*`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schema.settings.toml import TomlSettings

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class ApiSettings(TomlSettings):
    """Frozen settings of the API."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="ANNEALQ_API_", extra="ignore")
    toml_table: tuple[str, ...] = Field(default=("api",), exclude=True, repr=False)

    folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders whose files may be named in a request; as PATH, separated by colons."
    )
    max_body_mb: float = Field(default=64.0, gt=0, le=2048, description="Megabytes (10^6) of one request.")
    max_decoded_mb: float = Field(
        default=200.0, gt=0, le=2048, description="Megabytes of one request's images after unpacking."
    )
    uploads_mb: float = Field(
        default=10_000.0,
        gt=0,
        le=10_000_000,
        description="Megabytes (10^6) of uploaded files that wait in the home folder until they are read.",
    )
    threads: int = Field(default=8, ge=1, le=64, description="Requests that one process handles at a time.")
    memory_mb: float = Field(
        default=512.0,
        gt=0,
        le=65_536,
        description="Megabytes (10^6) for the images that all requests decode at a time; half as many for "
        "their bodies.",
    )
    connections: int = Field(default=2_048, ge=2, le=65_536, description="Open connections at a time.")
    connections_per_address: int = Field(
        default=1_200,
        ge=1,
        le=65_536,
        description="Open connections of one address at a time; all clients of a proxy have its address.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Sites whose pages may read answers, as https://example.com; separated by commas.",
    )
    webhook_private: bool = Field(
        default=False, description="Allow webhooks over plain http and at private addresses."
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        origins = tuple(part.strip().rstrip("/") for part in parts if part.strip())
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin: write https://example.com, or * for all")
        return origins

    @field_validator("folders", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = value.split(os.pathsep) if isinstance(value, str) else value
        return tuple(Path(part).expanduser().resolve() for part in parts if str(part).strip())

    @property
    def max_body(self) -> int:
        """Return the limit of one request, in bytes."""
        return int(self.max_body_mb * 1e6)

    @property
    def max_decoded(self) -> int:
        """Return the limit of one request's images after unpacking, in bytes."""
        return int(self.max_decoded_mb * 1e6)

    @property
    def uploads(self) -> int:
        """Return the limit of uploaded files that wait to be read, in bytes."""
        return int(self.uploads_mb * 1e6)

    @property
    def memory(self) -> int:
        """Return the memory for images that are decoded, in bytes."""
        return int(self.memory_mb * 1e6)
