"""Collects the files of a run, and writes them as a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays, chip_graphs
from schema.errors import Corrupt
from worker.compute import scoring
from worker.compute.linear_terms import LinearTerms
from worker.pipeline.features.inputs import with_inputs
from worker.proof import columns, compact, crate, documents, rows
from worker.proof.container import manifest, plain_json, signature
from worker.proof.container.archive import Writer, order
from worker.proof.contents import images_of
from worker.proof.rows import StoredRun
from worker.records import batches
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.rounds import reads

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from schema.database import Database
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput

Content = Callable[[], bytes]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class BundleOptions:
    """What a bundle shall hold.

    Attributes:
        images: also the images themselves.
        licence: URL of the licence under which it is published, or words.
        key: that signs it.
    """

    images: bool
    licence: str
    key: Ed25519PrivateKey | None


def write(database: Database, run: int, path: Path, wanted: BundleOptions, report: Report) -> None:
    """Write ``run`` of ``database`` to ``path``; ``report`` is called with each step.

    Raises:
        NotFound, InputError: as `rows.read` says.
        Corrupt: what is stored is damaged.
    """
    with database.reading() as session:
        stored = rows.read(session, run)
    files = _Files(database, run, stored, wanted)
    with path.open("wb") as file:
        _write(file, files.contents(), wanted, report)


def _write(file: BinaryIO, contents: dict[str, Content], wanted: BundleOptions, report: Report) -> None:
    writer, records = Writer(file), []
    names = sorted(contents, key=order)
    for done, name in enumerate(names):
        report("files", done, len(names))
        content = contents[name]()
        stored = writer.add(name, content, deflate=True)
        records.append(manifest.record(writer.members[-1], content, stored))
    said = manifest.manifest(records)
    writer.add(manifest.NAME, plain_json.encode(said), deflate=True)
    if wanted.key is not None:
        signed = signature.sign(wanted.key, said["root"])
        writer.add(signature.NAME, plain_json.encode(signed), deflate=False)
    writer.close()


class _Files:
    """The files of a run by name, each made when it is asked for."""

    def __init__(self, database: Database, run: int, stored: StoredRun, wanted: BundleOptions) -> None:
        self._database, self._run, self._stored, self._wanted = database, run, stored, wanted
        self._networks, self._backbones = Registry(), BackboneCache()

    def contents(self) -> dict[str, Content]:
        """Return what makes each file."""
        d, stored = documents, self._stored
        plain: dict[str, object] = {
            d.RUN: stored.run.model_dump(),
            d.NETWORK: stored.network.model_dump(),
            d.CHIPS: [each.model_dump() for each in stored.chips],
            d.EMBEDDINGS: [each.model_dump() for each in stored.embeddings],
            d.BATCHES: [each.model_dump() for each in stored.batches],
            d.PROBLEMS: [each.model_dump() for each in stored.problems],
        }
        if stored.calibration is not None:
            plain[d.CALIBRATION] = stored.calibration.model_dump()
        found: dict[str, Content] = {name: _json(value) for name, value in plain.items()}
        found |= self._bytes()
        for index in range(len(stored.batches)):
            found |= self._of_batch(index)
        about = crate.crate(stored.run, stored.network, found, self._wanted.licence)
        return found | {d.CRATE: _json(about)}

    def _bytes(self) -> dict[str, Content]:
        d, stored = documents, self._stored
        found: dict[str, Content] = {d.WEIGHTS: lambda: stored.weights, d.RESULTS: self._results}
        if stored.nonconformity is not None:
            found[d.NONCONFORMITY] = _known(stored.nonconformity)
        found |= {d.chip_file(k): self._graph(k) for k in range(len(stored.graphs))}
        found |= {d.tiling_file(k): _known(data) for k, data in enumerate(stored.tilings)}
        for index, problem in enumerate(stored.problems):
            if problem.reads is not None:
                found[d.reads_file(index)] = self._reads(stored.problem_ids[index])
        return found

    def _of_batch(self, index: int) -> dict[str, Content]:
        """Return what makes the files of the batch of that index."""
        d, first_round = documents, self._stored.batches[index].round == 1
        found: dict[str, Content] = {d.features_file(index): lambda: self._features(index)}
        if first_round and self._stored.run.parameters.get("rounds") and self._again(index):
            found[d.alone_file(index)] = lambda: self._features_alone(index)
        if first_round and self._wanted.images:
            found[d.images_file(index)] = lambda: arrays.encode_images(scoring.pixels(self._load(index)[0]))
        return found

    def _load(self, index: int) -> tuple[BatchInput, TrainedNetwork]:
        with self._database.reading() as session:
            batch_input = batches.load(session, self._stored.batch_ids[index])
            whole = self._networks.get(session, batch_input.network)
            network = whole.leaving_out(batch_input.parameters.without)
            return with_inputs(session, self._backbones, batch_input, network.architecture), network

    def _features(self, index: int) -> bytes:
        batch_input, network = self._load(index)
        return _encode(scoring.linear_terms(network, batch_input).features(slice(None)))

    def _again(self, index: int) -> list[int]:
        with self._database.reading() as session:
            batch_input = batches.load(session, self._stored.batch_ids[index])
            return images_of(reads.find_reads(session, batch_input))

    def _features_alone(self, index: int) -> bytes:
        batch_input, network = self._load(index)
        inputs = scoring.inputs(batch_input)
        model = network.model(batch_input.parameters.visible, batch_input.parameters.lam)
        alone = (LinearTerms(network, model, inputs[k : k + 1]) for k in self._again(index))
        return _encode(np.concatenate([terms.features(slice(None)) for terms in alone]))

    def _reads(self, problem: int) -> Content:
        def read() -> bytes:
            with self._database.reading() as session:
                stored = rows.read_reads(session, problem)
            return compact.encode_reads(stored)

        return read

    def _graph(self, chip: int) -> Content:
        said, data = self._stored.chips[chip], self._stored.graphs[chip]
        return lambda: compact.encode_graph(*chip_graphs.decode(data, said.qubits, said.couplers))

    def _results(self) -> bytes:
        with self._database.reading() as session:
            found = rows.read_results(session, self._run)
        return columns.encode(columns.columns(found, len(self._stored.network.classes)))


def _encode(features: NDArray[np.float64]) -> bytes:
    """Encode ``features``, numbers of float32 in float64; raise Corrupt if they are no such numbers."""
    single = features.astype("<f4")
    if not np.array_equal(single.astype(np.float64), features):
        raise Corrupt("features of the network have more digits than float32")
    return compact.encode_planes(single)


def _json(value: object) -> Content:
    return lambda: plain_json.encode(value)


def _known(data: bytes) -> Content:
    return lambda: data
