"""Reads settings, and refuses unknown names and wrong values."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schema.errors import ParameterError
from schema.settings.names import check_environment, check_file
from schema.settings.shared import Settings
from schema.settings.toml import TomlSettings, toml_files
from schema.settings.worker import WorkerSettings

Kind = TypeVar("Kind", bound=TomlSettings)


def load(**overrides: Any) -> Settings:
    """Read the settings that all processes share; ``overrides`` take precedence.

    Those of workers are checked, too: a worker that refuses to start would say so only in its log.

    Raises:
        ParameterError: as `read` says.
    """
    load_worker()
    return read(Settings, **overrides)


def load_worker() -> WorkerSettings:
    """Read the settings of workers. Raises as `read`."""
    return read(WorkerSettings)


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
        f"{prefix}{'_'.join(map(str, item['loc'])).upper()}, or its line of annealq.toml: {_reason(item)}"
        for item in error.errors()
    )


def _reason(item: ErrorDetails) -> str:
    """Return what is wrong with one value, and the value; that of our own refusals has it already."""
    reason = item["msg"].removeprefix("Value error, ")
    return (
        reason
        if item["type"] == "value_error"
        else f"{reason[:1].lower()}{reason[1:]}, not {item['input']!r:.60}"
    )
