"""Computes the results of a bundle again from its raw reads, by the functions that workers score with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schema.parameters import Rule
from worker.compute import scoring
from worker.proof.contents import Contents
from worker.records.batches import Scored
from worker.rounds import several_rounds

WITHIN = 1e-5
"""Of numbers that torch or an exponential has computed: their last bits depend on the machine."""


def score(contents: Contents, report: Callable[[int, int], None]) -> dict[int, Scored]:
    """Return a row for each image of ``contents`` that has reads, by its number within the run.

    ``report`` is called with the number of batches that are done, and of all.

    Raises:
        Corrupt: part of the bundle is damaged.
    """
    rows: dict[int, Scored] = {}
    for batch, said in enumerate(contents.batches):
        if said.round == 1:
            rows |= score_batch(contents, batch)
        report(batch + 1, len(contents.batches))
    return rows


def score_batch(contents: Contents, batch: int) -> dict[int, Scored]:
    """Return the rows of the batch of that index, of the first round of reads, by number within the run."""
    batch_input, network = contents.batch_input(batch), contents.network
    stored = contents.stored_reads(batch)
    scored, _ = scoring.score_terms(network, batch_input, contents.terms(batch), stored, gaps=True)
    places = [k for part in stored for k in range(part.first_image, part.first_image + part.count)]
    rows = dict(zip(places, scored, strict=True))
    located = contents.located(batch_input)
    alone = contents.terms_alone(batch, located)
    rows |= several_rounds.score_terms(network, batch_input, alone.__getitem__, located, contents.load)
    numbers, reads = batch_input.image_numbers, batch_input.parameters.reads
    return {numbers[place]: _counted(row, reads) for place, row in rows.items()}


def near(contents: Contents) -> tuple[str, ...]:
    """Return the columns of results that are compared within `WITHIN`; the others are, bit for bit."""
    return ("scores", "margin") if contents.parameters.rule is Rule.BOLTZMANN else ()


def _counted(row: Scored, reads: int) -> Scored:
    return row if row.reads else replace(row, reads=reads)
