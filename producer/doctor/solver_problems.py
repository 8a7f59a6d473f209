"""Has a solver's list of problems written down by a child process of the worker's side, which may ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from producer.stack import emulator
from producer.stack.stack import environment
from schema.errors import AnnealqError, ParameterError
from schema.parameters import Solver
from schema.settings import Settings


@dataclass(frozen=True)
class Seen:
    """A problem as the solver has it. charged_us: None where that was not asked for, or is not kept."""

    label: str
    sapi_id: str
    status: str
    charged_us: int | None = None


def refuse(solver: Solver) -> None:
    """Raise ParameterError for a solver in the worker's own process, which keeps no list."""
    if not solver.is_remote:
        remote = " or ".join(one for one in Solver if one.is_remote)
        raise ParameterError(f"solver {solver} keeps no list of problems to compare with: choose {remote}")


def ask(
    settings: Settings, solver: Solver, charged: Iterable[str], tick: Callable[[int], None]
) -> list[Seen]:
    """Every problem of annealq's that the solver has; ``tick`` is told of each.

    charged: the solver's ids whose charge is wanted.

    Raises:
        AnnealqError: the solver cannot be reached; says why.
    """
    access = emulator.running_access(settings)
    if solver is Solver.EMULATOR and not (access or settings.emulator_url):
        raise AnnealqError(
            "no emulator runs that could be asked: `annealq up --emulator` in another terminal, or set "
            "ANNEALQ_EMULATOR_URL to one that does"
        )
    given = {**os.environ, **environment(settings, os.environ), **access}
    command = [sys.executable, "-m", "worker.tools.solver_problems", solver.value]
    with tempfile.TemporaryFile() as wanted, tempfile.TemporaryFile() as errors:
        wanted.write(json.dumps(sorted(charged)).encode())
        wanted.seek(0)
        with subprocess.Popen(
            command, stdin=wanted, stdout=subprocess.PIPE, stderr=errors, env=given
        ) as child:
            seen = list(_read(child.stdout or (), tick))
        errors.seek(0)
        if child.returncode != 0:
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise AnnealqError(said[-1] if said else f"asking solver {solver} failed")
    return seen


def _read(lines: Iterable[bytes], tick: Callable[[int], None]) -> Iterator[Seen]:
    for line in lines:
        tick(1)
        yield Seen(**json.loads(line))
