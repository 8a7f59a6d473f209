"""Runs and bundles for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from tests.integration.conftest import some_images, work_off
from worker.context import Context
from worker.proof.collect import BundleOptions
from worker.proof.container import manifest, plain_json, signature
from worker.proof.container.archive import LAST, BundleArchive, Writer, order
from worker.proof.verify import Findings, verify
from worker.tools.bundle import bundle

LICENCE = "https://example.org/licence"


def no_report(_step: str, _done: int, _total: int) -> None:
    pass


def classify(
    context: Context, network: ChosenNetwork, solver: Solver, parameters: Parameters, images: int = 25
) -> int:
    """Classify random images in batches of ten; return the run."""
    options = RunOptions(batch_size=10)
    run = enqueue_run(context.database, some_images(images), network, solver, parameters, options)
    work_off(context, Message(Task.DISPATCH))
    return run.id


def bundled(context: Context, run: int, path: Path, *, images: bool = False) -> Findings:
    return bundle(context.database, run, path, BundleOptions(images, LICENCE, None), no_report)


def verified(path: Path) -> Findings:
    return verify(path, None, no_report)


def contents(path: Path) -> dict[str, bytes]:
    """The files of a bundle but for its manifest and signature, by name."""
    with BundleArchive(path) as archive:
        return {name: archive.content(name) for name in archive.members if name not in LAST}


def forge(source: Path, target: Path, changes: Mapping[str, Callable[[bytes], bytes] | None]) -> Path:
    """Write ``target``, a bundle with changed files, or without them, and a manifest that fits."""
    files = contents(source)
    for name, change in changes.items():
        if change is None:
            del files[name]
        else:
            files[name] = change(files.get(name, b""))
    with target.open("wb") as file:
        writer, records = Writer(file), []
        for name in sorted(files, key=order):
            stored = writer.add(name, files[name], deflate=True)
            records.append(manifest.record(writer.members[-1], files[name], stored))
        writer.add(manifest.NAME, plain_json.encode(manifest.manifest(records)), deflate=True)
        writer.close()
    assert signature.NAME in LAST
    return target
