"""What a bundle says, read and checked: documents, network, features, raw reads, chips and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.network import weights
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver
from schema.states import ProblemState
from worker.compute.linear_terms import LinearTerms
from worker.embedding.model.graphs import SolverGraph
from worker.network.trained import TrainedNetwork
from worker.proof import compact, documents
from worker.proof.container import manifest, signature
from worker.proof.container.archive import BundleArchive, DamagedPart
from worker.proof.documents import (
    BatchDocument,
    CalibrationDocument,
    ChipDocument,
    EmbeddingDocument,
    NetworkDocument,
    ProblemDocument,
    RunDocument,
)
from worker.qubo.energy_model import EnergyModel
from worker.records.batches import BatchInput, StoredReads
from worker.records.certainty.guarantees import SetBasis, make_set_basis
from worker.rounds.located_reads import LocatedReads, StoredProblem, locate

FloatArray = NDArray[np.float64]

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # no result depends on it


class Contents:
    """The contents of a bundle. Each part is read when it is first asked for; all raise DamagedPart."""

    def __init__(self, archive: BundleArchive) -> None:
        """Read the documents of ``archive``, and compare the files with those that they name."""
        self.archive = archive
        self.run = documents.read(archive, documents.RUN, RunDocument)
        self.about_network = documents.read(archive, documents.NETWORK, NetworkDocument)
        self.chips = documents.read(archive, documents.CHIPS, list[ChipDocument])
        self.embeddings = documents.read(archive, documents.EMBEDDINGS, list[EmbeddingDocument])
        self.batches = documents.read(archive, documents.BATCHES, list[BatchDocument])
        self.problems = documents.read(archive, documents.PROBLEMS, list[ProblemDocument])
        self.has_images = documents.images_file(0) in archive.members
        self.calibration: CalibrationDocument | None = None
        if documents.CALIBRATION in archive.members:
            self.calibration = documents.read(archive, documents.CALIBRATION, CalibrationDocument)
        self._check()
        with documents.in_file(documents.RUN):
            self.solver = Solver(self.run.solver)
            self.parameters = Parameters.from_dict(self.run.parameters)
            self.sampled = Parameters.from_dict(self.run.sampled)

    @cached_property
    def network(self) -> TrainedNetwork:
        """Return the network, without the sources that the run left out."""
        said, data = self.about_network, self.archive.content(documents.WEIGHTS)
        if weights.digest(data) != said.weights_sha256:
            raise DamagedPart(documents.WEIGHTS, f"has another SHA-256 than {documents.NETWORK} says")
        with documents.in_file(documents.NETWORK):
            architecture = Architecture.from_dict(said.architecture)
            transfer = str(said.training.get("transfer"))
            whole = TrainedNetwork.of(architecture, data, transfer, said.metrics)
            return whole.leaving_out(self.parameters.without)

    @cached_property
    def model(self) -> EnergyModel:
        """Return the energy model that was sampled."""
        with documents.in_file(documents.NETWORK):
            return self.network.model(self.sampled.visible, self.sampled.lam)

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.network.architecture.classes

    def features(self, batch: int) -> FloatArray:
        """Return the feature values (count, nv) of the images of the batch of that index."""
        return self._features(documents.features_file(batch), self.batches[batch].count)

    def terms(self, batch: int) -> LinearTerms:
        """Return the linear terms of the images of the batch of that index."""
        return LinearTerms.known(self.network, self.model, self.features(batch))

    def terms_alone(self, batch: int, located: list[LocatedReads]) -> dict[int, LinearTerms]:
        """Return the linear terms of each image of a batch that was read again, by its place there."""
        images = images_of(located)
        if not images:
            return {}
        features = self._features(documents.alone_file(batch), len(images))
        return {
            image: LinearTerms.known(self.network, self.model, features[k : k + 1])
            for k, image in enumerate(images)
        }

    def batch_input(self, batch: int) -> BatchInput:
        """Return the batch of that index as it is scored; it is without its images."""
        said = self.batches[batch]
        parameters = self.parameters
        labels = None if said.labels is None else arrays.encode_labels(np.array(said.labels, np.int64))
        members = None if said.members is None else arrays.encode_members(np.array(said.members, np.int64))
        return BatchInput(
            batch=batch,
            run=0,
            network=0,
            solver=self.solver,
            parameters=parameters if said.reads is None else replace(parameters, reads=said.reads),
            first_image=said.first_image,
            count=said.count,
            shape=arrays.read_shape(said.shape, said.dtype),
            images=b"",
            images_sha256=said.images_sha256,
            labels=labels,
            due_at=_NO_TIME,
            created_at=_NO_TIME,
            temperature=self._temperature,
            round=said.round,
            members=members,
            set_basis=self._set_basis(said.round),
        )

    def stored_reads(self, batch: int) -> list[StoredReads]:
        """Return the raw reads of the batch of that index, in the order of its images."""
        wanted = [index for index, each in self.answered() if each.batch == batch]
        return [self.load(index) for index in sorted(wanted, key=lambda k: self.problems[k].first_image)]

    def answered(self) -> Iterator[tuple[int, ProblemDocument]]:
        """Yield the problems that have reads, with their indices."""
        for index, problem in enumerate(self.problems):
            if problem.reads is not None:
                yield index, problem

    def load(self, problem: int) -> StoredReads:
        """Return the raw reads of the problem of that index."""
        said = self.problems[problem]
        tiles = None if said.embedding is None else self.archive.content(
            documents.tiling_file(said.embedding)
        )  # fmt: skip
        name = documents.reads_file(problem)
        with documents.in_file(name):
            data = compact.decode_reads(self.archive.content(name))
        return StoredReads(problem, said.first_image, said.count, said.first_tile, data, tiles)

    def located(self, batch_input: BatchInput) -> list[LocatedReads]:
        """Return where the reads are of those images of the batch that were read in several rounds."""
        rounds = self.parameters.rounds
        found = [StoredProblem(k, *self._place(each)) for k, each in self.answered()]
        if rounds is None or all(each.round == 1 for each in found):
            return []
        return locate(batch_input, found, self.parameters.reads + sum(each.reads for each in rounds))

    def graph(self, chip: int) -> SolverGraph:
        """Return the working graph of the chip of that index."""
        said, name = self.chips[chip], documents.chip_file(chip)
        with documents.in_file(name):
            qubits, couplers = compact.decode_graph(self.archive.content(name), said.qubits, said.couplers)
        with documents.in_file(documents.CHIPS):
            facts = {**said.properties, "qubits": qubits, "couplers": couplers}
            return SolverGraph.from_properties(said.name, said.graph_id, facts)

    def files(self) -> set[str]:
        """Return the names of the files that a bundle with these documents has."""
        d = documents
        names = {d.RUN, d.NETWORK, d.WEIGHTS, d.CHIPS, d.EMBEDDINGS, d.BATCHES, d.PROBLEMS, d.RESULTS}
        names |= {d.CRATE, manifest.NAME}
        names |= {d.chip_file(k) for k in range(len(self.chips))}
        names |= {d.tiling_file(k) for k in range(len(self.embeddings))}
        names |= {d.features_file(k) for k in range(len(self.batches))}
        names |= {d.reads_file(k) for k, _ in self.answered()}
        if self.has_images:
            names |= {d.images_file(k) for k, batch in enumerate(self.batches) if batch.round == 1}
        optional = {d.CALIBRATION, d.NONCONFORMITY, signature.NAME}
        optional |= {d.alone_file(k) for k, batch in enumerate(self.batches) if batch.round == 1}
        return names | (optional & self.archive.members.keys())

    def _check(self) -> None:
        for name in self.archive.members.keys() ^ self.files():
            raise DamagedPart(
                name, "is missing" if name not in self.archive.members else "does not belong there"
            )
        for batch in self.batches:
            lists = [len(each) for each in (batch.members, batch.labels) if each is not None]
            if any(length != batch.count for length in lists) or (batch.round > 1) != (
                batch.members is not None
            ):
                raise DamagedPart(
                    documents.BATCHES, f"has a batch at {batch.first_image} that does not fit itself"
                )
            if batch.embedding is not None and batch.embedding >= len(self.embeddings):
                raise DamagedPart(documents.BATCHES, f"names embedding {batch.embedding}, which is not there")
        if sum(batch.count for batch in self.batches if batch.round == 1) != self.run.images:
            raise DamagedPart(documents.BATCHES, f"does not hold the {self.run.images} images of the run")
        for embedding in self.embeddings:
            if embedding.chip >= len(self.chips):
                raise DamagedPart(documents.EMBEDDINGS, f"names chip {embedding.chip}, which is not there")
        for index, problem in enumerate(self.problems):
            self._check_problem(index, problem)

    def _check_problem(self, index: int, problem: ProblemDocument) -> None:
        fits = problem.batch < len(self.batches)
        fits = fits and problem.first_image + problem.count <= self.batches[problem.batch].count
        fits = fits and (problem.embedding is None or problem.embedding < len(self.embeddings))
        if not fits or (problem.reads is not None) != (problem.state == ProblemState.ANSWERED):
            raise DamagedPart(documents.PROBLEMS, f"has a problem {index} that does not fit its batch")

    def _features(self, name: str, count: int) -> FloatArray:
        data, width = self.archive.content(name), self.model.feature_count
        if len(data) != 4 * count * width:
            raise DamagedPart(name, f"has {len(data):,} bytes, not those of {count} images x {width} values")
        values = compact.decode_planes(data, "<f4").astype(np.float64).reshape(count, width)
        if not np.isfinite(values).all():
            raise DamagedPart(name, "has a value that is not finite")
        return values

    def _place(self, problem: ProblemDocument) -> tuple[int, int, list[int]]:
        """Return round, reads and images, by their numbers within the run, of a problem."""
        batch = self.batches[problem.batch]
        numbers = batch.members or range(batch.first_image, batch.first_image + batch.count)
        end = problem.first_image + problem.count
        return (
            batch.round,
            batch.sampled_reads or self.parameters.reads,
            list(numbers[problem.first_image : end]),
        )

    @property
    def _temperature(self) -> float | None:
        measured = None if self.calibration is None else self.calibration.measured
        fitted = (measured or {}).get("temperature") or {}
        return float(fitted["value"]) if isinstance(fitted, dict) and "value" in fitted else None

    def _set_basis(self, number: int) -> SetBasis | None:
        has = documents.NONCONFORMITY in self.archive.members and self.parameters.confidence is not None
        if not has:
            return None
        return make_set_basis(0, self.archive.content(documents.NONCONFORMITY), self.run.parameters, number)


def images_of(located: list[LocatedReads]) -> list[int]:
    """Return the images within their batch that ``located`` has reads of, ascending."""
    return sorted({image for each in located for image in each.images.tolist()})
