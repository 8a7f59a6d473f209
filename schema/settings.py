"""Settings that both sides share: the home folder, the database and the broker.

Order of precedence: arguments, `ANNEALQ_*` environment variables, `annealq.toml` in the current
folder, `annealq.toml` in the home folder, defaults. The values are frozen and passed in;
nothing connects at import.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schema.errors import ParameterError

# Fields of the settings classes by their table of `annealq.toml`; tests compare them with the classes.
TABLES: dict[str, frozenset[str]] = {
    "": frozenset({"home", "database_url", "broker_url", "emulator_url", "emulator_token", "emulator_chips"}),
    "worker": frozenset(
        {
            "lease_s",
            "max_attempts",
            "retry_base_s",
            "retry_limit_s",
            "waiting_hints",
            "rehint_s",
            "rehint_idle_s",
            "reconcile_every_s",
            "leader_lease_s",
            "solver_timeout_s",
            "solver_refresh_s",
            "quarantine_s",
            "recheck_s",
            "collect_s",
            "in_flight",
            "solver_in_flight",
            "day_budget_s",
            "month_budget_s",
            "window_margin_s",
            "breaker_failures",
            "probe_s",
            "check_problems",
            "control_images",
            "embedding_s",
            "metrics_port",
            "metrics_host",
            "training_threads",
        }
    ),
    "api": frozenset({"folders", "max_body_mb", "max_decoded_mb", "threads", "webhook_private"}),
}
# Variables that are no settings: of logs, of crash points, and of examples in the guides.
OTHERS = frozenset(
    {"ANNEALQ_LOG", "ANNEALQ_VERBOSE", "ANNEALQ_KEY", "ANNEALQ_CRASH_AT", "ANNEALQ_CRASH_ONCE"}
)
_TESTS = ("ANNEALQ_TEST_", "ANNEALQ_BENCH_")
# Kubernetes sets these in every container beside a service called annealq.
_OF_SERVICES = re.compile(r"ANNEALQ_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")
# The kernel's limit for a Unix socket's path is 108 bytes with the closing zero (104 on macOS).
_SOCKET_PATH_BYTES = 100


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
            TomlConfigSettingsSource(settings_cls, file, toml_table_header=table or None) for file in _files()
        )
        return (init_settings, env_settings, *toml)


Kind = TypeVar("Kind", bound=TomlSettings)


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


def load(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` take precedence. Raises as `read`."""
    return read(Settings, **overrides)


def read(kind: type[Kind], **overrides: Any) -> Kind:
    """Read the settings of ``kind``; ``overrides`` take precedence.

    Raises:
        ParameterError: a name is unknown, or a value cannot be used; the message names it.
    """
    check_environment(os.environ)
    for file in _files():
        check_file(file)
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise ParameterError(_describe(error, kind.model_config["env_prefix"])) from None


def _files() -> tuple[Path, Path]:
    return Path("annealq.toml"), default_home() / "annealq.toml"


def _is_http(url: str) -> bool:
    """Return whether ``url`` is one of http or https with a host, and a port from 1 to 65,535 if any."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _describe(error: ValidationError, prefix: str) -> str:
    """Return one line for ``error``: each wrong setting, by its variable, and what is wrong with it."""
    lines = (
        f"{prefix}{'_'.join(map(str, item['loc'])).upper()}, or its line of annealq.toml: "
        f"{item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )
    return "; ".join(lines)


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
