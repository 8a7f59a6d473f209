"""Has a solver's list of problems written down by a child process of the worker's side, which may ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from producer.stack import emulator, programs
from producer.stack.programs import Program
from schema.errors import AnnealqError, ParameterError
from schema.parameters import Solver
from schema.settings import Settings

_TIMEOUT_S = 86_400.0  # a request for each charge that is wanted


@dataclass(frozen=True)
class SolverProblem:
    """A problem as the solver has it. charged_us: None where that was not asked for, or is not kept."""

    label: str
    sapi_id: str
    status: str
    charged_us: int | None = None


def require_remote(solver: Solver) -> None:
    """Raise ParameterError for a solver in the worker's own process, which keeps no list."""
    if not solver.is_remote:
        remote = " or ".join(one for one in Solver if one.is_remote)
        raise ParameterError(f"solver {solver} keeps no list of problems to compare with: choose {remote}")


def list_problems(
    settings: Settings, solver: Solver, charged: Iterable[str], tick: Callable[[int], None]
) -> list[SolverProblem]:
    """Every problem of annealq's that the solver has; ``tick`` is told of each.

    charged: the solver's ids whose charge is wanted.

    Raises:
        AnnealqError: the solver cannot be reached; says why.
    """
    access = emulator.running_environment(settings)
    if solver is Solver.EMULATOR and not (access or settings.emulator_url):
        raise AnnealqError(
            "no emulator runs that could be asked: `annealq up --emulator` in another terminal, or set "
            "ANNEALQ_EMULATOR_URL to one that does"
        )
    seen = []
    with programs.start(
        Program.SOLVER_PROBLEMS,
        [solver.value],
        settings,
        timeout_s=_TIMEOUT_S,
        stdin=json.dumps(sorted(charged)),
        variables=access,
    ) as running:
        for line in running.json_lines():
            tick(1)
            seen.append(SolverProblem(**line))
    return seen
