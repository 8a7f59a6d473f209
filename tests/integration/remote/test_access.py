"""A wrong endpoint is reported at once; a solver that cannot anneal is never chosen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schema.errors import NoAccess
from schema.parameters import QpuChoice
from tests.emulators import SOLVER, TOKEN, Emulator
from worker.sapi.choice import choose_solver
from worker.sapi.client import Access, connect


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def chosen(endpoint: str, name: str | None = None) -> str:
    client = connect(Access(endpoint, TOKEN))
    try:
        return str(choose_solver(client, QpuChoice.parse(name)).solver.name)
    finally:
        client.close()


def test_an_address_that_is_no_endpoint_is_reported(emulator: Emulator) -> None:
    assert chosen(emulator.endpoint, SOLVER) == SOLVER
    with pytest.raises(NoAccess, match=r"An endpoint of SAPI ends in /sapi/v2/"):
        chosen(emulator.endpoint.removesuffix("sapi/v2/"))


def test_a_gate_model_solver_is_not_chosen(emulator: Emulator) -> None:
    emulator.break_down(gate_solver="qpu")  # D-Wave's client ranks it first: it has the most qubits
    try:
        assert chosen(emulator.endpoint) == SOLVER
    finally:
        emulator.break_down(gate_solver=False)
