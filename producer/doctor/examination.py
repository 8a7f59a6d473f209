"""Runs all checks one after another, and the repairs of their findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.doctor import (
    checksums,
    counters,
    intakes,
    ledger,
    relations,
    revision,
    solver_problems,
    spendings,
    states,
)
from producer.doctor.finding import Diagnosis, Finding
from producer.embeddings import chips
from schema.database import Database
from schema.errors import StaleState
from schema.parameters import Solver
from schema.quantities import count_text
from schema.settings import Settings
from schema.settings.worker import WorkerSettings
from schema.tables import Base

OnProgress = Callable[[int], None]
StartStep = Callable[[str, int], OnProgress]  # takes a step's name and size

_TIMELESS: tuple[Callable[[Session], Iterator[Finding]], ...] = (
    counters.run_counts,
    counters.batch_gaps,
    counters.classifications,
    states.run_states,
    states.times,
    relations.orphans,
    relations.images,
    relations.coverage,
    relations.rounds,
    relations.feature_sets,
    relations.sample_sets,
    spendings.spendings,
)
_TIMED = (states.leases, states.sending, intakes.intakes)


def examine(
    database: Database,
    settings: Settings,
    limits: WorkerSettings,
    start_step: StartStep,
    solver: Solver | None = None,
) -> Diagnosis:
    """Check ``database`` against itself and, if named, the list of ``solver``; nothing is written.

    Args:
        limits: when leases and submissions count as abandoned.
        settings: how to reach the solver.
        start_step: called with the name and size of each step; returns a function that reports progress.

    Raises:
        StorageError: the database cannot be read at all.
        AnnealqError: the solver cannot be reached.
    """
    outdated = tuple(revision.revision(database))
    if outdated:
        return Diagnosis({}, outdated)
    with database.reading() as session:
        sizes = {name: _size(session, name) for name in sorted(Base.metadata.tables)}
        stored = checksums.count(session)
        notes = tuple(f"{one.solver}: {one.name}: {one.text}" for one in chips.deprecations(session))
        alarms = chips.alarms(session).items()
        notes += tuple(f"chip {name}, graph {graph_id}: {alarm}" for (name, graph_id), alarm in alarms)
    findings = list(_structure(database, limits, start_step("rows", len(_TIMELESS) + len(_TIMED))))
    findings += checksums.checksums(database, start_step("stored bytes", stored))
    if solver is not None:
        on_progress = start_step(f"problems of {solver}", 0)
        own, others, differences = _against(database, settings, limits, solver, on_progress)
        sizes[f"{solver} problems"] = own
        findings += differences
        if others:
            notes += (f"{solver}: {count_text(others, 'problem')} sent by other databases of annealq",)
    return Diagnosis(sizes, tuple(findings), notes)


def repair(database: Database, diagnosis: Diagnosis) -> Diagnosis:
    """Apply the repairs in ``diagnosis`` to ``database``, one by one; skip rows that have changed."""
    findings = tuple(_repaired(database, finding) for finding in diagnosis.findings)
    return replace(diagnosis, findings=findings)


def _repaired(database: Database, finding: Finding) -> Finding:
    if finding.repair is None:
        return finding
    try:
        with database.transaction() as session:
            finding.repair.apply(session, database.now(session))
    except StaleState as error:
        return replace(finding, hint=f"not repaired, {error}: check again")
    except IntegrityError:
        return replace(finding, hint="not repaired, other rows prevent it: repair them, and check again")
    return replace(finding, repaired=True)


def _structure(database: Database, limits: WorkerSettings, on_progress: OnProgress) -> Iterator[Finding]:
    for check in _TIMELESS:
        with database.reading() as session:
            yield from check(session)
        on_progress(1)
    for timed in _TIMED:
        with database.reading() as session:
            yield from timed(session, database.now(session), limits)
        on_progress(1)


def _against(
    database: Database, settings: Settings, limits: WorkerSettings, solver: Solver, on_progress: OnProgress
) -> tuple[int, int, list[Finding]]:
    """Return the number of problems that the solver has of this database, that of others, and differences."""
    with database.reading() as session:
        now = database.now(session)
        before = ledger.read(session, solver, now, limits)
        keys, labels = ledger.keys(session), ledger.all_labels(session)
    problems = solver_problems.list_problems(settings, solver, keys, labels, on_progress)
    with database.reading() as session:
        after = ledger.read(session, solver, now, limits)
        labels = ledger.all_labels(session)
    own = sum(problem.own for problem in problems)
    return own, len(problems) - own, list(ledger.compare(before, after, labels, problems, solver))


def _size(session: Session, table: str) -> int:
    return session.execute(select(func.count()).select_from(Base.metadata.tables[table])).scalar_one()
