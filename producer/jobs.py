"""From what a user asked for to a row and its hint: shared by the commands that start work."""

from __future__ import annotations

from producer import hints, networks
from producer.bundle import install
from producer.enqueue import Enqueued, RunOptions, enqueue_run, enqueue_training, fit
from producer.images import ImageSet
from producer.networks import ChosenNetwork
from producer.session import Work
from schema.architecture import Architecture
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Origin, Parameters, Solver


def submit(
    at: Work,
    images: ImageSet,
    network: str | None,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions,
) -> Enqueued:
    """Enqueue a run and say so to the workers.

    Raises:
        InputError: network, images or key cannot be used; no run was written.
    """
    chosen = provide(at.database, images, network)
    run = enqueue_run(at.database, images, chosen, solver, parameters, options)
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return run


def provide(database: Database, images: ImageSet, network: str | None) -> ChosenNetwork:
    """The network to classify images with; a shipped one is installed on its first use.

    Raises:
        NetworkError: there is none. ImageError: the images do not suit a shipped one; nothing was written.
    """
    height, width = images.images.shape[1:]
    bundle = networks.find_shipped(database, network, height, width)
    if bundle is None:
        with database.reading() as session:
            return networks.choose(session, network, height, width)
    fit(images, ChosenNetwork.described(bundle.description))
    return ChosenNetwork.described(bundle.description, install(database, bundle, Origin.SHIPPED).id)


def submit_training(
    at: Work,
    architecture: Architecture,
    images: ImageSet,
    *,
    transfer: str,
    seed: int,
    epochs: int | None = None,
) -> Enqueued:
    """Enqueue a network's training and say so to the workers.

    Raises:
        InputError: the images cannot be used; nothing was written.
    """
    network = enqueue_training(at.database, architecture, images, transfer=transfer, seed=seed, epochs=epochs)
    hints.send(at.settings.broker_url, Message(Task.TRAIN_NETWORK, network.id))
    return network
