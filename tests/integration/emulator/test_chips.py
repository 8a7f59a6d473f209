"""Several chips like D-Wave's QPUs from one server: their graphs, errors and charges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dwave.cloud import Client

from tests.emulators import Emulator

CHIP, OTHER = "advantage2-system4", "second"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=perfect=zephyr:2", f"--chip={CHIP}", f"--chip={OTHER}={CHIP}") as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Iterator[Client]:
    with Client.from_config(client="qpu", **emulator.config) as connected:
        yield connected


def _reads(client: Client, name: str, label: str, reads: int = 200) -> Any:
    """Reads of all qubits, whose h is 0."""
    solver = client.get_solver(name=name)
    solver.return_matrix = True
    h = dict.fromkeys(sorted(solver.nodes), 0.0)
    options = {"num_reads": reads, "answer_mode": "raw", "auto_scale": False, "label": label}
    return np.array(solver.sample_ising(h, {}, **options).result()["solutions"])


def test_chips_of_one_kind_are_two_solvers(client: Client) -> None:
    one, other = client.get_solver(name=CHIP), client.get_solver(name=OTHER)
    assert len(one.nodes) == len(other.nodes) == 1202
    assert one.nodes != other.nodes
    assert one.properties["per_group_coupling_range"] == [-13.0, 10.0]
    assert "per_qubit_coupling_range" not in one.properties
    assert "max_answers" not in one.parameters


def test_errors_persist_on_their_chip_alone(client: Client) -> None:
    first, later = (_reads(client, CHIP, f"bias {k}").mean(axis=0) for k in (1, 2))
    assert not np.array_equal(first, later)
    # Fields of 0.015 at beta 8.4 give means of 0.13; 200 reads blur them by 0.07.
    assert np.corrcoef(first, later)[0, 1] > 0.5
    perfect = [_reads(client, "perfect", f"perfect {k}").mean(axis=0) for k in (1, 2)]
    assert np.array_equal(*perfect)
    assert abs(perfect[0]).max() < 0.35


def test_charges_differ_from_the_estimate_a_little(emulator: Emulator, client: Client) -> None:
    relative = []
    for reads in range(1, 21):
        _reads(client, CHIP, f"charge {reads}", reads)
        estimate = client.get_solver(name=CHIP).estimate_qpu_access_time(1202, num_reads=reads)
        (entry,) = [e for e in emulator.ledger()["problems"] if e["label"] == f"charge {reads}"]
        relative.append(entry["charged_us"] / estimate - 1)
    assert 0.0003 < np.std(relative) < 0.002
    assert max(map(abs, relative)) < 0.005


def test_a_misprogrammed_problem_has_other_reads_and_the_ledger_names_it(
    emulator: Emulator, client: Client
) -> None:
    emulator.break_down({"target": "problem", "kind": "misprogram", "count": 1}, clear=True)
    bad, good = (_reads(client, "perfect", label).mean(axis=0) for label in ("bad", "good"))
    entries = {entry["label"]: entry["misprogrammed"] for entry in emulator.ledger()["problems"]}
    assert (entries["bad"], entries["good"]) == (0.1, 0.0)
    # Errors of 0.4 in h at beta 5 fix most qubits.
    assert np.median(abs(bad)) > 0.7
    assert np.median(abs(good)) < 0.1
    assert emulator.break_down(clear=True)["faults"] == []
