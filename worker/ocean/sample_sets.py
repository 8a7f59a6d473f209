"""Reads as a `dimod.SampleSet`, with the fields of `info` that Ocean's samplers and composites write.

    timing, problem_id, problem_label   as `DWaveSampler` writes them
    embedding_context                   as `EmbeddingComposite` does with ``return_embedding=True``
    graph_id                            of the solver's working graph
    bqm                                 the problem, as `BinaryQuadraticModel.from_serializable` reads it
    annealq                             run, images, problems, parameters, and warnings (`embedding_warnings`)

All of it is JSON: warnings have the names of their classes, where Ocean has the classes themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from worker.ocean.embedding_warnings import Embedding

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class SampledProblem:
    """What is stored of a submitted problem.

    Attributes:
        problem: its number in annealq.
        sapi_id: of the solver; None if it was sampled on this machine.
        round: of reads of its run.
        timing: as the solver reported it, microseconds.
        scale: that h and J were multiplied by.
        chain_strength: before that.
        sent_at, answered_at: None if it was sampled on this machine, or if that is not known.
    """

    problem: int
    sapi_id: str | None
    label: str
    qpu: str | None
    graph_id: str | None
    round: int
    timing: Mapping[str, Any] | None
    scale: float | None
    chain_strength: float | None
    sent_at: datetime | None
    answered_at: datetime | None

    def about(self) -> dict[str, Any]:
        """Return what identifies it, when it was sampled, and how it was scaled."""
        names = ("problem", "sapi_id", "label", "qpu", "graph_id", "round", "scale", "chain_strength")
        times = {"sent_at": self.sent_at, "answered_at": self.answered_at}
        return {
            **{name: getattr(self, name) for name in names},
            **{name: None if at is None else at.isoformat() for name, at in times.items()},
        }


@dataclass(frozen=True, eq=False)
class EmbeddedOn:
    """The chains of a problem's variables, and which of them are broken.

    Attributes:
        embedding: chains by variable.
        broken: (R, number of chains) bool.
        chain_strength: in the units of the BINARY model's SPIN form, before it was scaled.
        method: the rule for broken chains, by its name in Ocean.
        warnings: about them; see `warnings_of`.
    """

    embedding: Embedding
    broken: BoolArray
    chain_strength: float
    method: str
    warnings: Sequence[Mapping[str, Any]] = ()


def sample_set(
    bqm: dimod.BinaryQuadraticModel,
    values: NDArray[np.int8],
    problems: Sequence[SampledProblem],
    about: Mapping[str, Any],
    embedded: EmbeddedOn | None = None,
    of_problem: NDArray[np.int64] | None = None,
) -> dimod.SampleSet:
    """Return reads of ``bqm`` as a sample set, in the order in which they were drawn.

    Args:
        values: (R, n) int8 of the variables in the order of ``bqm``, in its vartype.
        problems: that the reads are of, at least one. The fields of `info` for one problem are left out if
            these are several.
        about: more for the field ``annealq``.
        embedded: None if there are no chains, or the reads are of several problems.
        of_problem: (R,) the number of the problem of each read, where they are of several.
    """
    energies = bqm.energies((values, bqm.variables))
    vectors: dict[str, NDArray[Any]] = {}
    info: dict[str, Any] = {}
    details: dict[str, Any] = {**about, "problems": [problem.about() for problem in problems]}
    if len(problems) == 1:
        info |= _of_one(problems[0])
    if of_problem is not None:
        vectors["problem"] = of_problem
    if embedded is not None:
        vectors["chain_break_fraction"] = embedded.broken.mean(axis=1)
        info["embedding_context"] = {
            "embedding": embedded.embedding,
            "chain_break_method": embedded.method,
            "embedding_parameters": {},
            "chain_strength": embedded.chain_strength,
        }
        details["warnings"] = list(embedded.warnings)
    info |= {"bqm": bqm.to_serializable(), "annealq": details}
    labelled = (values, bqm.variables)
    built: dimod.SampleSet = dimod.SampleSet.from_samples(  # type: ignore[no-untyped-call]
        labelled, bqm.vartype, energies, info, sort_labels=False, **vectors
    )
    return built


def to_json(samples: dimod.SampleSet) -> str:
    """Return ``samples`` as JSON of `dimod.SampleSet.to_serializable`."""
    return json.dumps(samples.to_serializable())  # type: ignore[no-untyped-call]


def _of_one(problem: SampledProblem) -> dict[str, Any]:
    fields = {
        "timing": dict(problem.timing or {}),
        "problem_id": problem.sapi_id,
        "problem_label": problem.label,
        "graph_id": problem.graph_id,
    }
    return {name: value for name, value in fields.items() if value is not None}


def broken_chains(qubits: NDArray[np.uint8], tiling: Tiling) -> BoolArray:
    """Return which chains are broken in each read, (R, k n) bool, tile by tile.

    Args:
        qubits: (R, A) uint8 in {0, 1}, reads of the A qubits of ``tiling``, ascending.

    >>> reads = np.array([[1, 1, 0], [1, 0, 0]], dtype=np.uint8)
    >>> broken_chains(reads, Tiling.from_chains([[[0, 1], [2]]])).tolist()
    [[False, False], [True, False]]
    """
    columns = np.argsort(np.argsort(tiling.qubits))
    on = np.add.reduceat(qubits[:, columns], tiling.starts[:-1], axis=1, dtype=np.int64)
    return (on > 0) & (on < tiling.lengths.ravel())
