"""Whether a worker can reach a solver with qubits: known before anything is enqueued for it.

Only workers talk to solvers. Each says in its row which tokens it has, by their digests.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from producer.progress.workers import WorkerSummary, list_workers
from schema.errors import ParameterError
from schema.quantities import count_text
from schema.settings.shared import Settings
from schema.settings.tokens import DWAVE, EMULATOR, account, account_of

_SET = {
    DWAVE: "set DWAVE_API_TOKEN or run `dwave config create`",
    EMULATOR: "start them with `annealq up --emulator`, or set ANNEALQ_EMULATOR_URL",
}
_LACKS = {DWAVE: "no token of D-Wave", EMULATOR: "no emulator"}


def require_access(
    session: Session, solver: str, settings: Settings, now: datetime, *, starts_workers: bool = False
) -> None:
    """Raise ParameterError if no worker can reach ``solver``, as far as that is known ``now``.

    Args:
        settings: those of this process.
        starts_workers: the workers are children of this process, and have its tokens.
    """
    if solver not in _SET:
        return
    if starts_workers:
        require_token(solver, settings)
        return
    own = account(solver, settings)
    alive = [worker for worker in list_workers(session, now) if worker.is_alive]
    known = {worker.accounts.get(solver, "") for worker in alive} - {""}
    if alive and not known:
        raise ParameterError(_no_access(solver, alive, has_own=bool(own)))
    if known and own not in known and solver == EMULATOR and _is_chosen(settings):
        raise ParameterError(
            f"solver {solver} cannot be used: {_whose(alive)} use another token of it than this process: set "
            "ANNEALQ_EMULATOR_TOKEN where they start, too, and start them again"
        )


def require_token(solver: str, settings: Settings) -> None:
    """Raise ParameterError if workers that this process, with ``settings``, starts would have no token."""
    if solver == DWAVE and not account(solver, settings):
        raise ParameterError(f"solver {solver} cannot be used: there is {_LACKS[solver]}: {_SET[solver]}")


def other_account(session: Session, solver: str, settings: Settings, now: datetime) -> str | None:
    """Return a remark if the workers alive ``now`` use another account of ``solver`` than this process."""
    if solver != DWAVE:
        return None
    own = account(DWAVE, settings)
    known = {worker.accounts.get(DWAVE, "") for worker in list_workers(session, now) if worker.is_alive}
    if not own or not known - {""} or own in known:
        return None
    return "the workers use another token of D-Wave than this terminal: theirs is charged"


def _is_chosen(settings: Settings) -> bool:
    """Return whether the emulator has a token that somebody set, and not the default."""
    default = Settings.model_fields["emulator_token"].default
    return bool(settings.emulator_url) and account_of(settings.emulator_token) != account_of(default)


def _no_access(solver: str, alive: list[WorkerSummary], *, has_own: bool) -> str:
    but = ", though this process does" if has_own else ""
    lacks = "know" if solver == EMULATOR else "have"
    return (
        f"solver {solver} cannot be used: {_whose(alive)} {lacks} {_LACKS[solver]}{but}: {_SET[solver]} "
        "where they start, and start them again"
    )


def _whose(alive: list[WorkerSummary]) -> str:
    hosts = sorted({worker.host for worker in alive})
    return f"the {count_text(len(alive), 'worker')} on {', '.join(hosts)}"
