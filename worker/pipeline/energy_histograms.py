"""Computes what is shown of single images that somebody looks at: visible values, and energies of reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.database import renderings
from schema.errors import AnnealqError, reason
from schema.network.architecture import Architecture
from schema.states import BatchState
from schema.tables import Batch
from worker.compute.scoring import energy_histogram, linear_terms, read_energies
from worker.pipeline.features.inputs import with_inputs
from worker.records import batches
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.rounds import several_rounds

if TYPE_CHECKING:
    from worker.context import Context

log = structlog.get_logger()

_AT_ONCE = 50  # images
_NO_READS = "the reads of this image are not stored: they were removed by `annealq runs prune`"


def compute_histograms(context: Context, run: int) -> None:
    """Compute in ``context`` the histograms of ``run`` that are asked for, and store them.

    It takes no lease: two workers that do it at the same time store the same.
    """
    database, error = context.database, _NO_READS
    with database.reading() as session:
        asked = renderings.asked(session, run, renderings.HISTOGRAM, _AT_ONCE)
    if not asked:
        return
    images = [int(kind.removeprefix(renderings.HISTOGRAM)) for kind in asked]
    found: dict[int, dict[str, Any]] = {}
    try:
        with database.reading() as session:
            found = read_histograms(session, run, images, context.networks, context.backbones)
    except AnnealqError as failure:
        error = reason(failure)
        log.warning("energies cannot be computed", error=error)
    kinds = {renderings.histogram_kind(image): values for image, values in found.items()}
    bodies = {kind: json.dumps(values).encode() for kind, values in kinds.items()}
    with database.transaction() as session:
        renderings.answer(session, run, asked, bodies, dict.fromkeys(asked, error))


def read_histograms(
    session: Session, run: int, images: Sequence[int], networks: Registry, backbones: BackboneCache
) -> dict[int, dict[str, Any]]:
    """Return what is shown of each of ``images`` of ``run`` by number, without those not scored.

    Args:
        session: reads the images and their reads.
        networks, backbones: those that are loaded.

    Returns:
        ``visible``: as `visible_values` says; with it the energy histogram, or ``error``: why it is missing.

    Raises:
        Corrupt: what is stored for an image is damaged.
    """
    rows = session.execute(
        select(Batch.id, Batch.first_image, Batch.count, Batch.members)
        .where(Batch.run_id == run, Batch.state == BatchState.SCORED)
        .order_by(Batch.first_image)
    )
    visible: dict[int, dict[str, Any]] = {}
    energies: dict[int, list[several_rounds.Energies]] = {}
    for batch, first, count, members in rows.all():
        numbers = arrays.image_numbers(first, count, members)
        wanted = {numbers.index(image): image for image in images if image in numbers}
        if wanted:
            batch_input = batches.load(session, batch)
            network = networks.get(session, batch_input.network).leaving_out(batch_input.parameters.without)
            batch_input = with_inputs(session, backbones, batch_input, network.architecture)
            terms, stored = linear_terms(network, batch_input), batches.load_samples(session, batch)
            for place, image in wanted.items():
                values = terms.features(slice(place, place + 1))[0]
                visible.setdefault(image, visible_values(network.architecture, values))
            for place, found in read_energies(terms, batch_input, stored, wanted).items():
                energies.setdefault(wanted[place], []).append(found)
    return {
        image: {"visible": values, **_histogram(energies.get(image, []))} for image, values in visible.items()
    }


def visible_values(architecture: Architecture, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the ``values`` (nv,) of an image's visible units in a network of ``architecture``.

    Returns:
        ``values``: rounded to four digits. ``alpha``: their largest size. ``sources``: the number of units of
        each source, in their order; empty for a network without sources.
    """
    return {
        "values": [float(f"{value:.4g}") for value in values.tolist()],
        "alpha": architecture.alpha,
        "sources": {name: block.stop - block.start for name, block in architecture.blocks.items()},
    }


def _histogram(parts: Sequence[several_rounds.Energies]) -> dict[str, Any]:
    return energy_histogram(*several_rounds.join(parts)) if parts else {"error": _NO_READS}
