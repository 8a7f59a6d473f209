"""The queue of the public package: runs by its database, worked off as a worker would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from annealq import (
    IdempotencyConflict,
    InputError,
    Network,
    NotFound,
    ParameterError,
    Queue,
    RunUnsuccessful,
    StorageError,
)
from producer.intake import find, groups
from schema.messages import Message, Task
from tests import PATIENCE_S
from tests.integration.conftest import some_images, work_off
from tests.trained import patterns
from worker.context import Context


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with Queue(database_url=database_url) as opened:
        yield opened


def test_images_become_results(queue: Queue, context: Context) -> None:
    images, labels = patterns("digits", 30)
    run = queue.submit(images, labels, network="digits", solver="exact", reads=50, name="mine", tags=["a"])
    assert queue.run(run).state == "queued"
    with pytest.raises(TimeoutError, match="annealq runs show"):
        queue.wait(run, timeout_s=0)
    work_off(context, Message(Task.DISPATCH))
    shown = queue.wait(run, timeout_s=PATIENCE_S)
    assert (shown["name"], shown["images"], shown["tags"]) == ("mine", 30, ["a"])
    results = list(queue.results(run))
    assert [image.index for image in results] == list(range(30))
    arrays = queue.result_arrays(run)
    assert arrays.label.tolist() == labels.tolist()
    assert arrays.accuracy == shown["accuracy"]
    own = queue.network("digits")
    np.testing.assert_allclose(arrays.probabilities, own.probabilities(images), atol=1e-6)
    wrong = [image.index for image in queue.results(run, wrong=True)]
    assert wrong == np.flatnonzero(arrays.predicted != labels).tolist()
    assert [each.id for each in queue.runs()] == [run]


def test_files_are_read_as_by_the_command_line(queue: Queue, context: Context, tmp_path: Path) -> None:
    images = some_images(12)
    np.savez(tmp_path / "some.npz", images=images.images, labels=images.labels)
    by_file = queue.submit(tmp_path / "some.npz", network="digits", limit=10, solver="exact")
    relabelled = queue.submit(tmp_path / "some.npz", np.zeros(12, int), network="digits", solver="exact")
    work_off(context, Message(Task.DISPATCH))
    assert queue.wait(by_file)["images"] == 10
    assert queue.result_arrays(relabelled).label.tolist() == [0] * 12


def test_one_key_is_one_run(queue: Queue) -> None:
    images = some_images(3).images
    first = queue.submit(images, network="digits", idempotency_key="monday")
    assert queue.submit(images, network="digits", idempotency_key="monday") == first
    with pytest.raises(IdempotencyConflict):
        queue.submit(images, network="digits", reads=7, idempotency_key="monday")


def test_a_cancelled_run_is_unsuccessful(queue: Queue) -> None:
    run = queue.submit(some_images(3).images, network="digits")
    assert queue.cancel(run).state == "cancelled"
    with pytest.raises(RunUnsuccessful, match=f"run {run} is cancelled"):
        queue.wait(run)
    assert list(queue.results(run)) == []


def test_a_run_is_paused_resumed_and_followed(queue: Queue, context: Context) -> None:
    run = queue.submit(some_images(20).images, network="digits", solver="exact", batch_size=10)
    assert queue.pause(run).state == queue.pause(run).state == "paused"
    following = queue.events(run)
    first = next(following)
    assert (first.run_id, first.state, first.scored, first.images) == (run, "paused", 0, 20)
    assert queue.resume(run).state in ("queued", "running")
    work_off(context, Message(Task.DISPATCH))
    *_, last = following
    assert (last.state, last.scored) == ("done", 20)
    assert [each.state for each in queue.events(run)] == ["done"]
    with pytest.raises(ParameterError, match="done"):
        queue.pause(run)
    with pytest.raises(NotFound):
        next(queue.events(99))
    assert queue.run(run).reservations == ()


def test_a_large_file_is_read_in_pieces(
    queue: Queue, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "READ_IN_PIECES_BYTES", 64 * 20)
    monkeypatch.setattr(groups, "_GROUP_BYTES", 64 * 10)
    images = some_images(60)
    np.savez(tmp_path / "images.npz", images=images.images, labels=images.labels)
    given = {"network": "digits", "solver": "exact", "batch_size": 10}
    run = queue.submit(tmp_path / "images.npz", idempotency_key="a", name="many", **given)  # type: ignore[arg-type]
    assert (queue.run(run)["images"], queue.run(run)["intake"], queue.run(run)["name"]) == (60, None, "many")
    again = queue.submit(tmp_path / "images.npz", idempotency_key="a", name="many", **given)  # type: ignore[arg-type]
    assert again == run
    work_off(context, Message(Task.DISPATCH))
    assert queue.result_arrays(run).label.tolist() == images.labels.tolist()
    with pytest.raises(ParameterError, match="leave by_reference out"):
        queue.submit(images.images, by_reference=True)


def test_a_network_is_added_once_and_comes_back(queue: Queue) -> None:
    network = Network.load("digits5x5")
    pinned = queue.add_network(network)
    assert queue.add_network(network) == pinned
    images = np.random.default_rng(0).integers(0, 2, (4, 5, 5)).astype(np.uint8)
    again = queue.network(pinned)
    np.testing.assert_array_equal(again.class_scores(images), network.class_scores(images))
    assert again.temperature == network.temperature


def test_nothing_is_written_of_what_is_wrong(queue: Queue) -> None:
    images = some_images(3).images
    for wrong in ({"reads": 0}, {"solver": "none"}, {"network": "none"}, {"nothing": 1}, {"budget_s": -1}):
        with pytest.raises(InputError):
            queue.submit(images, **wrong)
    with pytest.raises(InputError, match="pixels go up to"):
        queue.submit(np.full((1, 8, 8), 99, np.uint8), network="digits")
    assert queue.runs() == []
    with pytest.raises(NotFound):
        queue.run(1)
    with pytest.raises(NotFound):
        next(queue.results(1))
    with pytest.raises(ParameterError, match="unknown option 'nothing'"):
        queue.submit(images, nothing=1)  # type: ignore[call-arg]


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="annealq"):
        Queue(tmp_path / "empty")
    assert list(tmp_path.iterdir()) == []
