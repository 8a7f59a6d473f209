"""The queues of messages, and the checks of their arguments."""

from __future__ import annotations

import pytest

from schema.errors import InputError
from schema.messages import VERSION, Message, Queue, Task, accept, is_newer, queue_name, queue_names


def test_version_1_has_bare_names_which_other_services_know() -> None:
    assert Message(Task.SAMPLE_BATCH, 7, version=1).queue == "annealq.sample"
    assert {queue_name(queue, 1) for queue in Queue} <= set(queue_names())


def test_a_worker_does_not_take_from_queues_of_newer_versions() -> None:
    newer = Message(Task.SAMPLE_BATCH, 7, version=VERSION + 1)
    assert newer.queue == f"annealq.sample.v{VERSION + 1}"
    assert newer.queue not in queue_names()
    assert Message(Task.SAMPLE_BATCH, 7).queue in queue_names()


@pytest.mark.parametrize("version", [VERSION + 1, 99])
def test_a_newer_version_is_told_and_refused(version: int) -> None:
    assert is_newer(version)
    with pytest.raises(InputError, match=f"version {version} is newer.*upgrade"):
        accept(1, version)


@pytest.mark.parametrize("row", [-1, 1.5, "1", None, True])
def test_a_row_is_a_whole_number(row: object) -> None:
    assert not is_newer(VERSION)
    assert not is_newer("2")
    with pytest.raises(InputError, match="row id"):
        accept(row, VERSION)


def test_what_somebody_only_looks_at_comes_last_and_expires() -> None:
    assert Message(Task.COMPUTE_HISTOGRAMS, 1).options == {"priority": 9, "expires": 60.0}
    looked_at = (Task.COMPUTE_HISTOGRAMS, Task.COMPUTE_SAMPLE_SETS)
    assert all(bool(Message(task, 1).options) == (task in looked_at) for task in Task)
