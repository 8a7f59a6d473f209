"""What is kept, and that nothing is charged twice or for nothing."""

from __future__ import annotations

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
    store.complete(done, b"first")
    store.complete(done, b"second")
    store.fail(done, "too late")
    store.fail(failed, "broken")
    assert store.cancel(cancelled)
    assert not store.cancel(done)
    store.complete(cancelled, b"too late")
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
        store.complete(entry, b"answer")
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


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no state " * 500)
    with pytest.raises(Corrupt, match="not an emulator's state file"):
        Store(text)
    assert text.read_text() == "no state " * 500
    import sqlite3

    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("CREATE TABLE problems (id)")
    foreign.execute("PRAGMA user_version = 9")
    foreign.close()
    with pytest.raises(StorageError, match="format 9"):
        Store(tmp_path / "foreign")
