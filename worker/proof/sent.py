"""Builds the problems of a bundle again, and compares them with the digests of what was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schema.codecs import tiling
from worker.embedding.model.gauges import draw_signs
from worker.embedding.model.scale import Ranges
from worker.proof import documents
from worker.proof.container.archive import DamagedPart
from worker.proof.contents import Contents, FloatArray
from worker.proof.documents import ProblemDocument
from worker.sapi.program import ChipProgram, encode_program
from worker.sapi.wire import problem_digest


@dataclass(frozen=True)
class SentProblems:
    """How many problems were sent, by what is known of their bytes.

    Attributes:
        equal: built again, with the digest that was recorded before they were sent.
        unrecorded: sent by a version that recorded no digest.
        wrong: those that differ, and in what.
    """

    equal: int
    unrecorded: int
    wrong: tuple[DamagedPart, ...]


def compare(contents: Contents, report: Callable[[int, int], None]) -> SentProblems:
    """Build all problems of ``contents`` that were sent, and compare them.

    ``report`` is called with the number of problems that are done, and of all.

    Raises:
        Corrupt: part of the bundle is damaged.
    """
    programs = _Programs(contents)
    equal, unrecorded, wrong = 0, 0, list[DamagedPart]()
    batch, linear = -1, None
    for index, problem in enumerate(contents.problems):
        if problem.times_sent and problem.embedding is not None:
            if linear is None or batch != problem.batch:
                batch, linear = problem.batch, contents.terms(problem.batch).take(slice(None))
            why = programs.difference(problem, linear)
            if problem.sent_sha256 is None:
                unrecorded += 1
            elif why is None:
                equal += 1
            else:
                wrong.append(DamagedPart(documents.PROBLEMS, f"has a problem {index} that {why}"))
        report(index + 1, len(contents.problems))
    return SentProblems(equal, unrecorded, tuple(wrong))


class _Programs:
    """The program of each embedding, encoded once."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._programs: dict[int, ChipProgram] = {}

    def difference(self, problem: ProblemDocument, linear: FloatArray) -> str | None:
        """Return in what ``problem`` differs from what was sent; None: in nothing.

        ``linear`` (B, n) float64 are the linear terms of its batch.
        """
        program = self._program(problem.embedding or 0)
        if (problem.scale, problem.chain_strength) != (program.scale, program.chain_strength):
            return "has another scale or chain strength than its network, chip and parameters give"
        sampled, batch = self._contents.sampled, self._contents.batches[problem.batch]
        key = (sampled.seed, batch.first_image, problem.ordinal)
        signs = draw_signs(sampled.gauge, key, problem.count, program.model.units)
        images = slice(problem.first_image, problem.first_image + problem.count)
        if problem.first_tile >= program.tiles or problem.count > program.tiles:
            return "lies on tiles that its embedding has not"
        wire = program.encode_problem(problem.first_tile, linear[images], problem.coupling_bias or 0.0, signs)
        if problem.sent_sha256 not in (None, problem_digest(*wire)):
            return "was not sent as its network, features, embedding and parameters give it"
        return None

    def _program(self, embedding: int) -> ChipProgram:
        if embedding not in self._programs:
            contents, said = self._contents, self._contents.embeddings[embedding]
            name = documents.tiling_file(embedding)
            if contents.model.graph_digest != said.graph_sha256:
                raise DamagedPart(documents.EMBEDDINGS, f"has an embedding {embedding} of another network")
            with documents.in_file(name):
                tiles = tiling.decode(contents.archive.content(name))
            with documents.in_file(documents.CHIPS):
                ranges = Ranges.from_properties(contents.chips[said.chip].properties)
            self._programs[embedding] = encode_program(
                contents.model,
                contents.network.architecture.alpha,
                contents.graph(said.chip),
                tiles,
                ranges,
                contents.sampled,
            )
        return self._programs[embedding]
