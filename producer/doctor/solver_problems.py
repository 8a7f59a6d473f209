"""Fetches a solver's list of problems by a program of the worker, which has the solver's client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from producer.stack import emulator, programs
from producer.stack.programs import Program
from schema.errors import AnnealqError, ParameterError
from schema.parameters import Solver
from schema.settings import Settings

_TIMEOUT_S = 86_400.0  # a request for each charge that is wanted


@dataclass(frozen=True)
class SolverProblem:
    """A problem as the solver has it.

    Attributes:
        own: it was sent by this database; otherwise by another one on the same token.
        charged_us: None if it is not known, or not asked for.
    """

    label: str
    sapi_id: str
    status: str
    own: bool = True
    charged_us: float | None = None


def require_remote(solver: Solver) -> None:
    """Raise ParameterError if ``solver`` runs in the worker's process, and so has no list of problems."""
    if not solver.is_remote:
        remote = " or ".join(each for each in Solver if each.is_remote)
        raise ParameterError(f"solver {solver} has no list of problems to compare with: choose {remote}")


def list_problems(
    settings: Settings,
    solver: Solver,
    keys: Sequence[str],
    labels: Iterable[str],
    on_progress: Callable[[int], None],
) -> list[SolverProblem]:
    """Return annealq's problems at ``solver``; call ``on_progress`` for each.

    Args:
        settings: how to reach the solver.
        keys: of this database, by which its labels begin.
        labels: all labels of this database.

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
        stdin=json.dumps({"keys": keys, "labels": [label for label in labels if not _has_key(label, keys)]}),
        variables=access,
    ) as running:
        for line in running.json_lines():
            on_progress(1)
            problems.append(SolverProblem(**line))
    return problems


def _has_key(label: str, keys: Sequence[str]) -> bool:
    """Return whether ``label`` begins with a key; those of earlier versions do not."""
    return label.partition(":")[2].startswith(tuple(keys)) if keys else False
