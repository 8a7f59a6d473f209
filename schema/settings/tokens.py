"""Tokens of solvers with qubits, known to others only as accounts: the first digits of their digests.

D-Wave's token is where its own client finds it, so that a process without that client knows it, too.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from schema.settings.shared import Settings

EMULATOR, DWAVE = "emulator", "dwave"  # names of solvers
_DIGITS = 12
_FILE = "dwave.conf"


def account_of(token: str | None) -> str:
    """Return the account of a ``token``; empty without one."""
    if not token:
        return ""
    return hashlib.sha256(f"annealq:{token}".encode()).hexdigest()[:_DIGITS]


def account(solver: str, settings: Settings) -> str:
    """Return the account by which this process, with ``settings``, would use ``solver`` with qubits."""
    if solver == DWAVE:
        return account_of(dwave_token(os.environ))
    return account_of(settings.emulator_token if settings.emulator_url else None)


def accounts(settings: Settings) -> dict[str, str]:
    """Return the account of each solver with qubits; see `account`."""
    return {solver: account(solver, settings) for solver in (EMULATOR, DWAVE)}


def dwave_token(environment: Mapping[str, str]) -> str:
    """Return D-Wave's token: that of ``environment``, or of the profile that it chooses in `dwave.conf`.

    It is empty where there is none, or where the files cannot be read: a connection says why.
    """
    if token := environment.get("DWAVE_API_TOKEN"):
        return token
    config = configparser.ConfigParser(default_section="defaults")
    try:
        for path in _files(environment):
            with path.open() as file:
                config.read_file(file)
        first = next(iter(config.sections()), "defaults")
        profile = environment.get("DWAVE_PROFILE") or config.defaults().get("profile") or first
        return config[profile].get("token", "")
    except (OSError, ValueError, KeyError, configparser.Error):
        return ""


def _files(environment: Mapping[str, str]) -> list[Path]:
    """Return the files to read; later ones take precedence."""
    if named := environment.get("DWAVE_CONFIG_FILE"):
        return [Path(os.path.expandvars(named)).expanduser()]
    everybody = platformdirs.site_config_dir("dwave", "dwavesystem", multipath=True).split(os.pathsep)
    own = platformdirs.user_config_dir("dwave", "dwavesystem")
    return [path for folder in (*everybody, own, ".") if (path := Path(folder, _FILE)).exists()]
