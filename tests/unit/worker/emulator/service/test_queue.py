"""The QPU's order and time, and who is woken."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from schema.errors import ParameterError
from worker.emulator.service.queue import Bell, EmulatedQpu, QpuClock
from worker.emulator.service.store import AcceptedProblem, Status


def _entry(number: int, access_us: float = 0.0) -> AcceptedProblem:
    return AcceptedProblem(
        number,
        f"p{number}",
        "me",
        "tiny",
        "g",
        "ising",
        None,
        Status.PENDING,
        "",
        None,
        None,
        1,
        1,
        access_us,
        0.0,
    )


class Bench:
    """Samples when a test says so, and remembers what was done."""

    def __init__(self, speed: float | None = None, ahead: int = 2) -> None:
        self.begun: dict[str, Future[bytes]] = {}
        self.done: list[tuple[str, bytes | BaseException]] = []
        self.qpu = EmulatedQpu(
            QpuClock(speed), ahead, self._sample, lambda entry, outcome: self.done.append((entry.id, outcome))
        )

    def _sample(self, entry: AcceptedProblem) -> Future[bytes]:
        self.begun[entry.id] = Future()
        return self.begun[entry.id]

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def _with(bench: Bench, entries: list[AcceptedProblem]) -> asyncio.Task[None]:
    for entry in entries:
        bench.qpu.put(entry)
    task = asyncio.create_task(bench.qpu.run())
    await bench.settle()
    return task


def test_answers_come_in_order_although_samples_do_not() -> None:
    async def play() -> None:
        bench = Bench()
        task = await _with(bench, [_entry(1), _entry(2), _entry(3), _entry(4)])
        assert list(bench.begun) == ["p1", "p2", "p3"]  # the running one, and two ahead
        bench.begun["p2"].set_result(b"2")
        await bench.settle()
        assert bench.done == []
        bench.begun["p1"].set_result(b"1")
        await bench.settle()
        assert bench.done == [("p1", b"1"), ("p2", b"2")]
        bench.begun["p3"].set_exception(ValueError("broken"))
        await bench.settle()
        assert isinstance(bench.done[2][1], ValueError)
        assert bench.qpu.running is not None
        assert bench.qpu.running.id == "p4"
        task.cancel()

    asyncio.run(play())


def test_what_is_removed_is_not_run_and_offline_nothing_is() -> None:
    async def play() -> None:
        bench = Bench()
        bench.qpu.online = False
        first, second = _entry(1), _entry(2)
        task = await _with(bench, [first, second])
        assert (bench.qpu.running, bench.qpu.waiting) == (None, 2)
        bench.qpu.remove(first)
        bench.qpu.remove(first)
        assert bench.begun["p1"].cancelled()
        bench.qpu.online = True
        await bench.settle()
        assert bench.qpu.running == second
        task.cancel()

    asyncio.run(play())


def test_the_queue_takes_the_modelled_time_and_no_more_for_samples() -> None:
    async def play() -> float:
        bench = Bench(speed=2.0, ahead=5)
        task = await _with(bench, [_entry(number, access_us=100_000) for number in range(4)])
        loop = asyncio.get_running_loop()
        started = loop.time()
        while len(bench.done) < 4:
            for future in bench.begun.values():
                if not future.done():
                    future.set_result(b"")
            await asyncio.sleep(0.001)
        task.cancel()
        return loop.time() - started

    took = [asyncio.run(play()) for _ in range(5)]
    # 4 x 0.1 s, twice as fast. A busy machine makes some of them longer, none shorter.
    assert min(took) > 0.19
    assert min(took) < 0.5


def test_a_bell_wakes_only_those_who_wait_for_it() -> None:
    async def play() -> None:
        bell = Bell()
        mine = asyncio.create_task(bell.wait(["a", "b"], 30))
        other = asyncio.create_task(bell.wait(["c"], 30))
        await asyncio.sleep(0)
        bell.ring("b")
        await asyncio.wait_for(mine, 1)
        assert not other.done()
        bell.close()
        await asyncio.wait_for(other, 1)
        await asyncio.wait_for(bell.wait(["d"], 30), 1)

    asyncio.run(play())


@pytest.mark.parametrize(("text", "seconds"), [("real", 2.0), ("scaled:4", 0.5), ("off", 0.0)])
def test_a_clock_says_how_long_a_problem_takes(text: str, seconds: float) -> None:
    assert QpuClock.parse(text).seconds(2_000_000) == seconds


@pytest.mark.parametrize("text", ["", "fast", "scaled", "scaled:0", "scaled:-1", "scaled:nan", "scaled:inf"])
def test_a_wrong_clock_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        QpuClock.parse(text)
