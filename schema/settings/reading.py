"""Reads settings, and refuses unknown names and wrong values."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from pydantic import ValidationError

from schema.errors import ParameterError, validation_text
from schema.settings.api import ApiSettings
from schema.settings.folders import allow_folders
from schema.settings.names import check_environment, check_file
from schema.settings.shared import Settings
from schema.settings.toml import TomlSettings, toml_files
from schema.settings.worker import WorkerSettings

Kind = TypeVar("Kind", bound=TomlSettings)


def load(**overrides: Any) -> Settings:
    """Read the settings that all processes share; ``overrides`` take precedence.

    Those of workers are checked, too: a worker that refuses to start would say so only in its log. Batches
    may name files of the `reference_folders` from now on.

    Raises:
        ParameterError: as `read` says.
    """
    load_worker()
    settings = read(Settings, **overrides)
    allow_folders(settings.reference_folders)
    return settings


def load_worker() -> WorkerSettings:
    """Read the settings of workers. Raises as `read`."""
    return read(WorkerSettings)


def load_api(**overrides: Any) -> ApiSettings:
    """Read the settings of the API; ``overrides`` take precedence. Raises as `read`."""
    return read(ApiSettings, **overrides)


def read(kind: type[Kind], **overrides: Any) -> Kind:
    """Read the settings of ``kind``; ``overrides`` take precedence.

    Raises:
        ParameterError: a name is unknown, or a value cannot be used; the message names it.
    """
    check_environment(os.environ)
    for file in toml_files():
        check_file(file)
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise ParameterError(_describe(error, kind.model_config["env_prefix"])) from None


def _describe(error: ValidationError, prefix: str) -> str:
    """Return one line for ``error``: each wrong setting, by its variable, and what is wrong with it."""
    return "; ".join(
        f"{prefix}{'_'.join(map(str, item['loc'])).upper()}, or its line of annealq.toml: "
        f"{validation_text(item['msg'], item['input'])}"
        for item in error.errors()
    )
