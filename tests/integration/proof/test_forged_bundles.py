"""Bundles whose bytes agree with their manifest, and whose contents do not agree with each other."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from producer.networks.chosen import ChosenNetwork
from schema.codecs import samples
from schema.parameters import Solver
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox
from tests.integration.proof.bundles import bundled, classify, contents, forge, verified
from tests.integration.proof.test_bundles import QUBITS
from worker.context import Context
from worker.proof import compact
from worker.proof.container import plain_json

Change = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def bundle(database: Any, outbox: Outbox, network: ChosenNetwork, emulator: Emulator, tmp_path: Path) -> Path:
    """The bundle of a run on qubits, with images."""
    context = Context(database, WorkerSettings(solver_timeout_s=5.0), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    run = classify(context, network, Solver.EMULATOR, QUBITS)
    context.solvers.disconnect(Solver.EMULATOR, QUBITS)
    bundled(context, run, tmp_path / "run.zip", images=True)
    return tmp_path / "run.zip"


def edited(change: Callable[[Any], Any]) -> Change:
    """Change what a JSON file says."""

    def of(data: bytes) -> bytes:
        value = json.loads(data)
        change(value)
        return plain_json.encode(value)

    return of


def put(*keys: Any) -> Change:
    """Put the last of ``keys`` where the others lead."""

    def change(value: Any) -> None:
        *path, last, new = keys
        for key in path:
            value = value[key]
        value[last] = new

    return edited(change)


def column(name: str, change: Callable[[np.ndarray], None]) -> Change:
    def of(data: bytes) -> bytes:
        columns = {key: value.copy() for key, value in load(data).items()}
        change(columns[name])
        return save({key: columns[key] for key in sorted(columns)})

    return of


def bits(data: bytes) -> bytes:
    """Turn all bits of the first read."""
    raw = samples.decode(compact.decode_reads(data))
    turned = raw.bits.copy()
    turned[0, 0] ^= 1
    return compact.encode_reads(samples.encode(samples.RawReads.of(turned, raw.energies)))


def add(place: int, value: float, kind: str, *, planes: bool = False) -> Change:
    def of(data: bytes) -> bytes:
        values = compact.decode_planes(data, kind) if planes else np.frombuffer(data, kind).copy()
        values[place] += value
        return compact.encode_planes(values) if planes else values.tobytes()

    return of


def set_item(place: int, value: Any) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[place] = value

    return change


FORGED: list[tuple[str, Change | None, str]] = [
    # Results that do not follow from the reads, and the other way round.
    ("results.safetensors", column("predicted", lambda a: np.subtract(9, a, out=a)), "another predicted"),
    ("results.safetensors", column("scores", lambda a: np.multiply(a, 0.5, out=a)), "another scores"),
    ("results.safetensors", column("margin", set_item(3, 0.123)), "of image 3 it is 0.123"),
    ("results.safetensors", column("image", set_item(24, 30)), "25 images are classified"),
    ("reads/000002.reads", bits, "results.safetensors has another"),
    # Charges, statistics and the ledger.
    ("problems.json", put(1, "charged_us", 5.0), "charges 5.0 us for problem 1"),
    ("run.json", put("statistics", "qpu_access_time_us", 1.0), "states qpu_access_time_us 1.0"),
    ("run.json", put("spent_us", {}), "spent 0.0 us"),
    ("problems.json", put(0, "timing", "qpu_access_time", 7.0), "its answer states 7.0"),
    # Problems that are not those that were sent.
    ("problems.json", put(0, "sent_sha256", "0" * 64), "was not sent as its network"),
    ("problems.json", put(0, "coupling_bias", 0.3), "was not sent as its network"),
    ("problems.json", put(0, "scale", 0.5), "another scale or chain strength"),
    ("run.json", put("parameters", "lam", 7.0), "another scale or chain strength"),
    ("chips.json", put(0, "properties", "h_range", [-1.0, 1.0]), "another scale or chain strength"),
    ("features/000001.planes", add(5, 0.01, "<f4", planes=True), "features of image 10 that are not those"),
    ("images/000000.raw", add(5, 1, "u1"), "images/000000.raw"),
    ("batches.json", put(0, "labels", 0, 9), "images/000000.raw"),
    ("network.safetensors", lambda data: data[:-1] + b"\x01", "network.safetensors"),
    # What cannot be read at all.
    ("network.safetensors", lambda _: pickle.dumps({}), "network.safetensors"),
    ("results.safetensors", lambda _: pickle.dumps({}), "is not a valid safetensors file"),
    ("reads/000000.reads", lambda data: data[:-1], "sample set"),
    ("reads/000000.reads", lambda _: b"", "fewer than its header"),
    ("reads/000000.reads", lambda data: b"\xff" * 12 + data[12:], "not those of its"),
    ("features/000001.planes", lambda data: data[:-1], "features/000001.planes has"),
    ("reads/000000.reads", None, "reads/000000.reads is missing"),
    ("reads/000099.reads", lambda _: b"", "reads/000099.reads does not belong there"),
    ("embeddings/000000.aqt", lambda data: data[:40], "embeddings/000000.aqt"),
    ("chips/000000.graph", lambda data: data[:-9], "chips/000000.graph"),
    ("batches.json", put(0, "count", 2**31 - 1), "batches.json"),
    ("batches.json", put(0, "shape", "9x9"), "images/000000.raw"),
    ("problems.json", put(0, "first_image", 2**31 - 1), "problem 0 that does not fit its batch"),
    ("problems.json", put(0, "first_tile", 2**31 - 1), "tiles that its embedding has not"),
    ("problems.json", put(0, "embedding", 7), "problem 0 that does not fit its batch"),
    ("problems.json", put(0, "count", -1), "a wrong value at 0.count"),
    ("run.json", put("parameters", "reads", 10**9), "run.json cannot be used: reads is"),
    ("run.json", put("parameters", {"reads": []}), "run.json"),
    ("run.json", put("solver", "evil"), "evil"),
    ("run.json", put("evil", 1), "evil"),
    ("network.json", put("architecture", {}), "network"),
    ("network.json", put("training", {}), "transfer"),
    ("chips.json", put(0, "properties", {}), "chips"),
    ("chips.json", put(0, "qubits", 2**20 - 1), "chips/000000.graph"),
]


def test_a_forged_bundle_is_found_out(bundle: Path, tmp_path: Path) -> None:
    assert not verified(forge(bundle, tmp_path / "same.zip", {})).wrong
    for name, change, text in FORGED:
        found = verified(forge(bundle, tmp_path / "forged.zip", {name: change}))
        said = " | ".join(f"{part} {what}" for part, what in found.wrong)
        assert text in said, f"{name}: {text!r} is not in {said!r}"


@pytest.mark.slow
def test_each_of_a_thousand_flipped_bits_is_named(bundle: Path, tmp_path: Path) -> None:
    data, rng, other = bundle.read_bytes(), random.Random(3), tmp_path / "flipped.zip"
    names = [*contents(bundle), "manifest.json", "the zip directory"]
    for _ in range(1000):
        place = rng.randrange(8 * len(data))
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        other.write_bytes(changed)
        wrong = verified(other).wrong
        assert wrong, f"bit {place} is not noticed"
        assert any(name in f"{part} {what}" for part, what in wrong for name in names), wrong
