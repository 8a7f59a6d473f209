"""Builds the sample set of an image or of a problem from the reads that are stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dimod
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from schema.errors import NotFound, ParameterError
from schema.parameters import SampleSetRequest
from worker.ocean import models
from worker.ocean.embedding_warnings import warnings_of
from worker.ocean.sample_sets import EmbeddedOn, SampledProblem, broken_chains, sample_set
from worker.pipeline.sample_sets import rows
from worker.qubo.ising import spins_of
from worker.rounds.located_reads import LocatedReads
from worker.rounds.several_rounds import UnitReads, read_units

if TYPE_CHECKING:
    from worker.pipeline.sample_sets.rows import BatchModel, ProblemRow
    from worker.records.features.backbones import BackboneCache
    from worker.records.networks import Registry

_NO_READS = "were removed by `annealq runs prune`, or it is not sampled yet"


def build_sample_set(
    session: Session, run: int, request: SampleSetRequest, networks: Registry, backbones: BackboneCache
) -> dimod.SampleSet:
    """Return what ``request`` asks of ``run``.

    Args:
        session: reads images, reads and chips.
        networks, backbones: those that are loaded.

    Raises:
        NotFound: there is no such run, image or problem, or its reads are not stored.
        ParameterError: it was sampled without qubits, or in several rounds that are not one problem.
        Corrupt: what is stored is damaged.
    """
    if request.image is not None:
        batch, place = rows.find_image(session, run, request.image)
        loaded = rows.load_batch(session, batch, networks, backbones)
        return _of_image(session, loaded, place, request, networks, backbones)
    row = rows.find_problem(session, run, request.problem or 0)
    if row.run != run:
        raise ParameterError(
            f"problem {request.problem} was sampled in run {row.run}, which run {run} scores again: "
            "name that run, or an image",
            "problem",
        )
    loaded = rows.load_batch(session, row.batch, networks, backbones)
    return _of_problem(session, run, loaded, row, physical=request.physical)


def _of_image(
    session: Session,
    loaded: BatchModel,
    place: int,
    request: SampleSetRequest,
    networks: Registry,
    backbones: BackboneCache,
) -> dimod.SampleSet:
    """Return the reads of the image at ``place`` of ``loaded``: all that decide about it, or of one round."""
    run, image = loaded.batch_input.run, request.image
    located = rows.find_reads(session, loaded.batch_input, place)
    located = [each for each in located if request.round in (None, each.round)]
    if not located:
        again = "" if request.round is None else f" in round {request.round}"
        raise NotFound(f"run {run} has no stored reads of image {image}{again}: they {_NO_READS}")
    problems = [rows.find_problem(session, run, each.problem) for each in located]
    if request.physical:
        if len(problems) > 1:
            numbers = ", ".join(str(each.round) for each in located)
            raise ParameterError(
                f"image {image} of run {run} was read in rounds {numbers}, on other qubits in each: "
                "choose one with `round`",
                "round",
            )
        own = rows.load_batch(session, problems[0].batch, networks, backbones)
        return _on_chip(session, run, own, problems[0], located[0])
    linear = loaded.terms(slice(place, place + 1)).take(slice(0, 1))
    found = [_read(loaded, linear, problem, each) for problem, each in zip(problems, located, strict=True)]
    bqm = models.model_of(loaded.model, linear[0], loaded.names)
    values = np.concatenate([units.bits[0][units.counted[0]] for units in found]).view(np.int8)
    facts = [problem.facts for problem in problems]
    about = _about(session, run, loaded, [request.image])
    if len(found) == 1:
        return sample_set(bqm, values, facts, about, _embedded(bqm, values, loaded, found[0], facts[0], [""]))
    counts = [int(units.counted[0].sum()) for units in found]
    of_problem = np.repeat([problem.problem for problem in facts], counts)
    return sample_set(bqm, values, facts, about, of_problem=of_problem)


def _of_problem(
    session: Session, run: int, loaded: BatchModel, row: ProblemRow, *, physical: bool
) -> dimod.SampleSet:
    """Return the reads of a whole problem: of the qubits of all of its images, or of their units."""
    if row.embedding is None:
        raise ParameterError(
            f"problem {row.facts.problem} was sampled image by image, by solver {loaded.batch_input.solver}: "
            "name an image",
            "problem",
        )
    everything = np.arange(row.count)
    number = loaded.batch_input.parameters.reads
    located = LocatedReads(row.facts.problem, row.facts.round, number, everything, everything)
    if physical:
        return _on_chip(session, run, loaded, row, located)
    images = slice(row.first_image, row.first_image + row.count)
    linear = loaded.terms(slice(None)).take(images)
    units = _read(loaded, linear, row, located)
    prefixes = [f"{image}:" for image in row.images]
    bqm = dimod.BinaryQuadraticModel(dimod.BINARY)
    for prefix, biases in zip(prefixes, linear, strict=True):
        bqm.update(models.model_of(loaded.model, biases, [prefix + name for name in loaded.names]))
    counted = np.asarray(units.counted.all(axis=0))
    values = np.concatenate(units.bits[:, counted], axis=1).view(np.int8)
    embedded = _embedded(
        bqm, values, loaded, replace(units, counted=counted[np.newaxis]), row.facts, prefixes
    )
    return sample_set(bqm, values, [row.facts], _about(session, run, loaded, row.images), embedded)


def _on_chip(
    session: Session, run: int, loaded: BatchModel, row: ProblemRow, located: LocatedReads
) -> dimod.SampleSet:
    """Return the reads of the qubits of a problem, or of the tile of one of its images, without a rule."""
    problem = rows.sent(session, row, loaded)
    images = [row.images[place] for place in located.places]
    linear = loaded.terms(slice(None)).take(slice(None))[row.first_image + located.places]
    units = _read(loaded, linear, row, located)
    units = replace(units, counted=np.ones((1, located.reads), np.bool_))
    prefixes = [""] if len(images) < row.count or row.count == 1 else [f"{image}:" for image in images]
    if len(images) == 1:
        problem = problem.on_tile(int(located.places[0]))
    logical = dimod.BinaryQuadraticModel(dimod.BINARY)
    for prefix, biases in zip(prefixes, linear, strict=True):
        logical.update(models.model_of(loaded.model, biases, [prefix + name for name in loaded.names]))
    values = np.concatenate(units.bits, axis=1).view(np.int8)
    embedded = _embedded(logical, values, loaded, units, row.facts, prefixes)
    about = _about(session, run, loaded, images) | {"source_bqm": logical.to_serializable()}
    return sample_set(problem.bqm(), spins_of(_qubits(units)), [row.facts], about, embedded)


def _read(
    loaded: BatchModel, linear: NDArray[np.float64], row: ProblemRow, located: LocatedReads
) -> UnitReads:
    """Return the reads of the images of ``located`` in the problem ``row``; raise NotFound without any."""
    if row.reads is None:
        raise NotFound(f"the reads of problem {row.facts.problem} are not stored: they {_NO_READS}")
    parameters = replace(loaded.batch_input.parameters, reads=located.reads)
    wanted = range(len(located.places))
    return read_units(loaded.model, linear, parameters, row.reads, located, wanted)


def _embedded(
    bqm: dimod.BinaryQuadraticModel,
    values: NDArray[np.int8],
    loaded: BatchModel,
    units: UnitReads,
    facts: SampledProblem,
    prefixes: Sequence[str],
) -> EmbeddedOn | None:
    """Return the chains of ``units`` and what is broken of them; None if these were read without qubits.

    Args:
        bqm, values: the logical problem and its reads that count, by which warnings are found.
        prefixes: of the names of each image's variables.
    """
    if units.tiles is None or facts.chain_strength is None:
        return None
    names = [prefix + name for prefix in prefixes for name in loaded.names]
    tiles = units.tiles
    chains = {name: tiles.chain(*divmod(index, tiles.units)).tolist() for index, name in enumerate(names)}
    broken = broken_chains(_qubits(units), tiles)[units.counted[0]]
    energies = bqm.energies((values, names))
    return EmbeddedOn(
        chains,
        broken,
        facts.chain_strength,
        loaded.batch_input.parameters.unembedding.value,
        warnings_of(bqm, chains, facts.chain_strength, energies, broken),
    )


def _qubits(units: UnitReads) -> NDArray[np.uint8]:
    """Return the reads of the qubits of ``units``, (R, A) uint8, ascending."""
    if units.physical is None or units.tiles is None:
        raise ValueError("reads without qubits")
    return np.unpackbits(units.physical, axis=1, count=len(units.tiles.qubits))


def _about(session: Session, run: int, loaded: BatchModel, images: Sequence[int | None]) -> dict[str, Any]:
    parameters = loaded.batch_input.parameters
    return {
        "run_id": run,
        "images": list(images),
        "network": rows.network_name(session, loaded.batch_input.network),
        "solver": loaded.batch_input.solver.value,
        "visible": parameters.visible.value,
        "lam": float(loaded.model.couplings[-1]) / 2.0,  # of the last pair of class units: 2 lam
    }
