"""What is kept, and that nothing is charged twice or for nothing."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from schema.errors import Corrupt, StorageError
from worker.emulator.service.store import AcceptedProblem, CheckedProblem, Status, Store


def _submission(name: str, member: str = "me", label: str | None = None) -> CheckedProblem:
    return CheckedProblem(name, member, "tiny", "g", "ising", label, 10, 2, 123.5, b"data", b"{}")


def _accept(store: Store, *names: str) -> list[AcceptedProblem]:
    return store.accept([_submission(name) for name in names])


def test_only_a_completed_problem_is_charged_and_only_once() -> None:
    store = Store(None)
    done, failed, cancelled, _ = _accept(store, "done", "failed", "cancelled", "pending")
    store.complete(done, b"first", 123.5)
    store.complete(done, b"second", 7.0)
    store.fail(done, "too late")
    store.fail(failed, "broken")
    assert store.cancel(cancelled)
    assert not store.cancel(done)
    store.complete(cancelled, b"too late", 123.5)
    ledger = {entry.id: (entry.status, entry.charged_us, entry.error) for entry in store.ledger()}
    assert ledger == {
        "done": (Status.COMPLETED, 123.5, None),
        "failed": (Status.FAILED, 0.0, "broken"),
        "cancelled": (Status.CANCELLED, 0.0, None),
        "pending": (Status.PENDING, 0.0, None),
    }
    assert store.answer(done) == b"first"
    assert store.answer(cancelled) is None
    assert [entry.id for entry in store.pending()] == ["pending"]
    assert store.queued("me") == 1
    store.close()


def test_a_post_is_kept_as_a_whole_or_not_at_all() -> None:
    store = Store(None)
    with pytest.raises(Exception, match="UNIQUE"):
        _accept(store, "one", "two", "one")
    assert store.ledger() == []
    assert [entry.id for entry in _accept(store, "one")] == ["one"]
    store.close()


@pytest.mark.parametrize("charged", [True, False])
def test_a_failed_problem_is_charged_once_or_never(charged: bool) -> None:
    store = Store(None)
    (entry,) = store.accept([replace(_submission("a"), fault="broken", fault_charged=charged)])
    assert (entry.fault, entry.fault_charged, entry.gone) == ("broken", charged, 0)
    store.fail(entry, "broken", 123.5 * charged)
    store.fail(entry, "again", 123.5)
    store.complete(entry, b"late", 123.5)
    (failed,) = store.ledger()
    assert (failed.status, failed.charged_us, failed.error) == (Status.FAILED, 123.5 * charged, "broken")
    store.close()


def test_what_is_gone_is_in_the_ledger_only() -> None:
    store = Store(None)
    first, _ = _accept(store, "first", "second")
    store.forget(first, 410)
    assert [entry.id for entry in store.search("me")] == ["second"]
    assert store.entries(["first"], "me")["first"].gone == 410
    assert [entry.id for entry in store.ledger()] == ["first", "second"]
    assert store.queued("me") == store.queued(None) == 2
    store.close()


def test_the_newest_problems_of_a_member_are_counted_without_those_of_others() -> None:
    store = Store(None)
    store.accept([_submission(f"{number}", "other" if number % 2 else "me") for number in range(10)])
    numbers = [entry.number for entry in store.ledger() if entry.member == "me"]
    assert [store.oldest_of_newest("me", count) for count in (1, 2, 5, 6)] == [
        numbers[-1],
        numbers[-2],
        numbers[0],
        0,
    ]
    assert store.queued("me") == 5
    assert store.queued(None) == 10
    store.close()


def test_names_are_followed_back_and_forth() -> None:
    store = Store(None)
    for old, new in (("a", "b"), ("b", "c")):
        store.save_rename(old, new)
    assert store.renames() == {"a": "b", "b": "c"}
    store.save_rename("c", "a")
    assert store.renames() == {"b": "c", "c": "a"}
    store.close()


def test_labels_are_searched_by_any_part_and_literally() -> None:
    store = Store(None)
    labels = ["run%1", "run_1", "RUN1", None]
    store.accept([_submission(str(number), label=label) for number, label in enumerate(labels)])
    store.accept([_submission("foreign", member="other", label="run%1")])
    assert [entry.id for entry in store.search("me", label="n%")] == ["0"]
    assert [entry.id for entry in store.search("me", label="_")] == ["1"]
    assert [entry.id for entry in store.search("me", label="run")] == ["1", "0"]
    assert len(store.search("me")) == 4
    assert store.search("me", statuses=[Status.FAILED]) == []
    assert store.entries(["foreign"], "me") == {}
    store.close()


def test_times_never_repeat() -> None:
    store = Store(None)
    times = [entry.submitted_on for entry in _accept(store, *map(str, range(50)))]
    assert times == sorted(set(times))
    store.close()


def test_old_answers_go_and_what_waits_stays() -> None:
    store = Store(None)
    waiting, *entries = _accept(store, "waiting", *map(str, range(10)))
    for entry in entries:
        store.complete(entry, b"answer", 123.5)
    store.trim(keep=3)
    kept = [entry.id for entry in entries if store.answer(entry)]
    assert kept == ["7", "8", "9"]
    assert [entry.id for entry in entries if store.payload(entry)] == kept
    assert store.payload(waiting) == (b"data", b"{}")
    assert len(store.ledger()) == 11
    store.close()


def test_a_file_is_opened_again_with_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = Store(path)
    (entry,) = _accept(store, "kept")
    store.save_solver("tiny", 3, online=False)
    key = store.member_key
    with pytest.raises(StorageError, match="in use by another emulator"):
        Store(path)
    store.close()
    again = Store(path)
    assert again.ledger() == [entry]
    assert again.solver("tiny") == (3, False)
    assert again.member_key == key
    again.close()


def test_a_file_of_the_first_format_is_upgraded_with_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / "state"
    old = sqlite3.connect(path)
    old.executescript(
        """
        CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
        CREATE TABLE solvers (
            name TEXT PRIMARY KEY, generation INTEGER NOT NULL, online INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE problems (
            number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, member TEXT NOT NULL,
            solver TEXT NOT NULL, graph_id TEXT NOT NULL, type TEXT NOT NULL, label TEXT,
            status TEXT NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED')),
            submitted_on TEXT NOT NULL, solved_on TEXT CHECK ((solved_on IS NULL) = (status = 'PENDING')),
            error TEXT CHECK ((error IS NOT NULL) = (status = 'FAILED')), reads INTEGER NOT NULL,
            qubits INTEGER NOT NULL, access_us REAL NOT NULL,
            charged_us REAL NOT NULL CHECK (charged_us = 0 OR status = 'COMPLETED')
        ) STRICT;
        CREATE INDEX problems_member ON problems (member, status);
        CREATE TABLE payloads (number INTEGER PRIMARY KEY, data BLOB NOT NULL, params BLOB NOT NULL) STRICT;
        CREATE TABLE answers (number INTEGER PRIMARY KEY, answer BLOB NOT NULL) STRICT;
        INSERT INTO meta VALUES ('member_key', X'00');
        INSERT INTO problems VALUES
            (7, 'old', 'me', 'tiny', 'g', 'ising', NULL, 'COMPLETED', '2026', '2027', NULL, 1, 2, 3.5, 3.5),
            (8, 'new', 'me', 'tiny', 'g', 'ising', 'l', 'PENDING', '2026', NULL, NULL, 1, 2, 3.5, 0);
        INSERT INTO payloads VALUES (8, X'01', X'02');
        PRAGMA user_version = 1;
        """
    )
    old.close()
    for _ in range(2):
        store = Store(path)
        done, waiting, *_ = store.ledger()
        assert (done.number, done.charged_us, done.fault, done.gone) == (7, 3.5, None, 0)
        assert store.payload(waiting) == (b"\x01", b"\x02")
        assert store.member_key == b"\0"
        (following,) = _accept(store, secrets.token_hex())
        assert following.number > 8
        store.fail(following, "broken", 123.5)
        store.close()


def test_a_file_of_the_second_format_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = Store(path)
    entries = [*_accept(store, "1"), *_accept(store, "2")]
    store.close()
    old = sqlite3.connect(path)
    old.executescript("ALTER TABLE problems DROP COLUMN misprogrammed; PRAGMA user_version = 2;")
    old.close()
    store = Store(path)
    assert store.ledger() == entries
    (following,) = _accept(store, "3")
    assert following.misprogrammed == 0.0
    store.close()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no state " * 500)
    with pytest.raises(Corrupt, match="not an emulator's state file"):
        Store(text)
    assert text.read_text() == "no state " * 500
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("CREATE TABLE problems (id)")
    foreign.execute("PRAGMA user_version = 9")
    foreign.close()
    with pytest.raises(StorageError, match="format 9"):
        Store(tmp_path / "foreign")
