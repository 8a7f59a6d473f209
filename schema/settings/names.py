"""Refuses names that no settings have: in the environment, and in `annealq.toml`."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from schema.errors import ParameterError
from schema.settings.api import ApiSettings
from schema.settings.shared import Settings
from schema.settings.toml import TomlSettings
from schema.settings.worker import WorkerSettings


def _names(kind: type[TomlSettings]) -> frozenset[str]:
    return frozenset(kind.model_fields) - {"toml_table"}


# Fields of settings by their table of `annealq.toml`.
TABLES: dict[str, frozenset[str]] = {
    "": _names(Settings),
    "worker": _names(WorkerSettings),
    "api": _names(ApiSettings),
}
# Variables that are not settings: of logs, of crash points, and of examples in the guides.
OTHERS = frozenset(
    {"ANNEALQ_LOG", "ANNEALQ_VERBOSE", "ANNEALQ_KEY", "ANNEALQ_CRASH_AT", "ANNEALQ_CRASH_ONCE"}
)
_TESTS = ("ANNEALQ_TEST_", "ANNEALQ_BENCH_")
# Kubernetes sets these in every container next to a service called annealq.
_OF_SERVICES = re.compile(r"ANNEALQ_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")


def variables() -> set[str]:
    """Return the names of all environment variables that annealq reads."""
    settings = (
        f"ANNEALQ_{table}_{name}" if table else f"ANNEALQ_{name}"
        for table in TABLES
        for name in TABLES[table]
    )
    return {name.upper() for name in settings} | OTHERS


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise ParameterError for a variable `ANNEALQ_*` of ``environment`` that no part of annealq reads."""
    known = variables()
    for given in environment:
        name = given.upper()
        if not name.startswith("ANNEALQ_") or name in known or name.startswith(_TESTS):
            continue
        if _OF_SERVICES.fullmatch(name) or environment[given].startswith(("tcp://", "udp://")):
            continue
        raise ParameterError(f"unknown environment variable {given}: {_advice(name, known, 'unset it')}")


def check_file(path: Path) -> None:
    """Raise ParameterError for a key or table of the file ``path`` that no settings have; it may be absent.

    Raises:
        ParameterError: the file cannot be read, either.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{path} cannot be read: {reason}; correct or remove it") from None
    tables = set(TABLES) - {""}
    _check_keys(path, "", {name: value for name, value in content.items() if name not in tables})
    for table in tables & set(content):
        if not isinstance(content[table], dict):
            raise ParameterError(f"{path}: {table} must be a table: write [{table}], and its settings below")
        _check_keys(path, table, content[table])


def _check_keys(path: Path, table: str, values: Mapping[str, Any]) -> None:
    known = TABLES[table] if table else TABLES[""] | set(TABLES)
    for name in set(values) - TABLES[table]:
        place = f"in [{table}]" if table else "outside of tables"
        raise ParameterError(f"{path}: unknown setting {name!r} {place}: {_advice(name, known, 'remove it')}")


def _advice(name: str, known: Iterable[str], otherwise: str) -> str:
    nearest = difflib.get_close_matches(name, filter(None, known), 1, cutoff=0.5)
    return (
        f"did you mean {nearest[0]}?"
        if nearest
        else f"{otherwise}; the guide on operations lists the settings"
    )
