"""Examples in docstrings of the modules whose algorithms need one."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "worker.annealers.exact",
    "worker.annealers.forest",
    "worker.sapi.wire",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0
