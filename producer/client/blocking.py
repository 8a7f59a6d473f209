"""Runs coroutines that never suspend, so that one implementation serves blocking and async callers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` to its end in the calling thread, without an event loop.

    >>> async def add(a, b):
    ...     return a + b
    >>> complete(add(1, 2))
    3
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    coroutine.close()
    raise RuntimeError("a blocking transport must not suspend")


def blocking(
    operation: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Return ``operation`` as a method that returns its result; its object has the async one as `_async`."""

    @wraps(operation)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return complete(operation(self._async, *args, **kwargs))

    return call


def blocking_iterator(
    operation: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """Return an async generator ``operation`` as a method that is a plain generator."""

    @wraps(operation)
    def iterate(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        generator = cast("AsyncGenerator[T, None]", operation(self._async, *args, **kwargs))
        try:
            while True:
                try:
                    value = complete(anext(generator))
                except StopAsyncIteration:
                    return
                yield value
        finally:
            complete(generator.aclose())

    signature = inspect.signature(operation)
    returned = str(signature.return_annotation).replace("AsyncIterator", "Iterator")
    iterate.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined] # for help()
    return iterate
