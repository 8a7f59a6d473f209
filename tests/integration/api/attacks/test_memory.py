"""Memory is bounded over all requests: who asks for too much waits for it, or is refused."""

from __future__ import annotations

import asyncio

import pytest

from producer.api.load.memory import MemoryBudget
from schema.errors import RequestRefused


def test_memory_is_given_in_order_and_back_after_errors_and_cancellation() -> None:
    async def scenario() -> None:
        memory = MemoryBudget("images", 10, waiting=2)
        order: list[str] = []
        held = asyncio.Event()

        async def use(name: str, count: int) -> None:
            async with memory.reserve(count):
                order.append(name)
                await held.wait()

        first = asyncio.create_task(use("first", 8))
        await asyncio.sleep(0)
        large, small = asyncio.create_task(use("large", 9)), asyncio.create_task(use("small", 1))
        await asyncio.sleep(0)
        assert order == ["first"]  # the small one does not overtake the large one
        with pytest.raises(RequestRefused, match="no memory left") as refused:
            await use("third", 1)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
        large.cancel()
        held.set()
        await asyncio.gather(first, small)
        assert order == ["first", "small"]
        with pytest.raises(ZeroDivisionError):
            async with memory.reserve(10):
                raise ZeroDivisionError
        memory.take(10)  # all of it was given back
        with pytest.raises(RequestRefused, match="no memory left"):
            memory.take(1)
        memory.give(10)
        with pytest.raises(RequestRefused, match="more than the server's"):
            await use("never", 11)

    asyncio.run(scenario())
