"""Sets of classes from calibration to statistics, with the local annealer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from schema.codecs import nonconformity
from schema.messages import Message, Task
from schema.parameters import Solver
from schema.tables import Batch, Calibration, Run
from tests.integration.conftest import some_images, work_off
from worker.compute import scoring
from worker.context import Context
from worker.network import inference
from worker.qubo.class_states import class_minima
from worker.records import batches

IMAGES = 60
GRID = ParameterGrid(reads=20, factors=(1.0,))


def labelled(context: Context, network: ChosenNetwork, count: int, seed: int) -> ImageSet:
    """Return images with the labels that the network gives them, but for each fourth."""
    images = some_images(count, seed=seed)
    with context.database.reading() as session:
        held = context.networks.get(session, network.id)
    labels = inference.classify(held.architecture, held.weights, images.images, "energy")
    labels[::4] = (labels[::4] + 1) % 10
    return replace(images, labels=labels)


@pytest.fixture
def calibration(context: Context, working: ChosenNetwork) -> int:
    images = labelled(context, working, IMAGES, seed=3)
    made = enqueue_calibration(context.database, images, working, Solver.LOCAL, GRID).id
    work_off(context, Message(Task.PLAN_CALIBRATION, made))
    return made


def class_energies_by_hand(context: Context, session: Session, run: int, reads: int) -> list[list[float]]:
    """Return the energy of each class of each image of ``run`` by its first reads, one read at a time."""
    found = []
    for batch in session.execute(
        select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)
    ).scalars():
        batch_input = batches.load(session, batch)
        network = context.networks.get(session, batch_input.network)
        terms = scoring.linear_terms(network, batch_input)
        minima = class_minima(terms.model, terms.take(slice(None)))
        assert minima is not None
        for part, decoded in scoring.reads_of_images(
            terms, batch_input, batches.load_samples(session, batch)
        ):
            for image, bits in enumerate(decoded.class_bits):
                energies = {}
                for read in range(reads):
                    if bits[read].sum() == 1:
                        k, energy = int(bits[read].argmax()), float(decoded.energies[image, read])
                        energies[k] = min(energy, energies.get(k, np.inf))
                exact = minima[part][image]
                found.append([energies.get(k, exact[k]) for k in range(len(exact))])
    return found


def test_a_calibration_stores_how_its_right_classes_conform(context: Context, calibration: int) -> None:
    with context.database.reading() as session:
        row = session.get_one(Calibration, calibration)
        stored = nonconformity.decode(row.nonconformity or b"")
        run = session.execute(select(Run.id).where(Run.calibrates == calibration)).scalar_one()
        assert stored.plans.keys() == {"[10]", "[20]"}
        assert nonconformity.plan_name(row.parameters or {}) in stored.plans
        for reads in (10, 20):
            energies = class_energies_by_hand(context, session, run, reads)
            expected = [own[k] - min(own) for own, k in zip(energies, stored.labels.tolist(), strict=True)]
            assert stored.plans[f"[{reads}]"].tolist() == pytest.approx(expected)
    assert len(stored.labels) == IMAGES
    assert 0 < np.count_nonzero(stored.plans["[10]"]) < IMAGES
