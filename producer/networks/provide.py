"""The network to work with: found by name or by image size; a shipped one is installed on first use."""

from __future__ import annotations

from producer.images.imageset import ImageSet
from producer.networks import choose, queries
from producer.networks.bundle import install
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import fit
from producer.networks.queries import NetworkSummary
from schema.database import Database
from schema.parameters import Origin


def provide(database: Database, images: ImageSet, network: str | None) -> ChosenNetwork:
    """The network to classify images with; a shipped one is installed on its first use.

    Raises:
        NetworkError: there is none. ImageError: the images do not suit a shipped one; nothing was written.
    """
    height, width = images.images.shape[1:]
    bundle = choose.find_shipped(database, network, height, width)
    if bundle is None:
        with database.reading() as session:
            return choose.choose(session, network, height, width)
    fit(images, ChosenNetwork.described(bundle.description))
    return ChosenNetwork.described(bundle.description, install(database, bundle, Origin.SHIPPED).id)


def find_network(database: Database, name: str) -> NetworkSummary:
    """The network of this name; a shipped one is installed where there is no other.

    Raises:
        NotFound: there is none. NetworkError: what comes after ``@`` is no version.
    """
    found = choose.find_shipped(database, name, 0, 0)
    if found is not None:
        install(database, found, Origin.SHIPPED)
    with database.reading() as session:
        return queries.network_by_name(session, name)
