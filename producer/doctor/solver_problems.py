"""Fetches a solver's list of problems by a program of the worker, which has the solver's client."""

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
    """A problem as the solver has it. ``charged_us`` is None if not requested, or not stored there."""

    label: str
    sapi_id: str
    status: str
    charged_us: int | None = None


def require_remote(solver: Solver) -> None:
    """Raise ParameterError if ``solver`` runs in the worker's process, and so has no list of problems."""
    if not solver.is_remote:
        remote = " or ".join(each for each in Solver if each.is_remote)
        raise ParameterError(f"solver {solver} has no list of problems to compare with: choose {remote}")


def list_problems(
    settings: Settings, solver: Solver, charged: Iterable[str], on_progress: Callable[[int], None]
) -> list[SolverProblem]:
    """Return annealq's problems at ``solver``; call ``on_progress`` for each.

    Args:
        settings: how to reach the solver.
        charged: the solver's ids of problems whose charge is requested.

    Raises:
        AnnealqError: the solver cannot be reached.
    """
    access = emulator.running_environment(settings)
    if solver is Solver.EMULATOR and not (access or settings.emulator_url):
        raise AnnealqError(
            "the emulator does not run: start `annealq up --emulator` in another terminal, or set "
            "ANNEALQ_EMULATOR_URL to a running one"
        )
    problems = []
    with programs.start(
        Program.SOLVER_PROBLEMS,
        [solver.value],
        settings,
        timeout_s=_TIMEOUT_S,
        stdin=json.dumps(sorted(charged)),
        variables=access,
    ) as running:
        for line in running.json_lines():
            on_progress(1)
            problems.append(SolverProblem(**line))
    return problems
