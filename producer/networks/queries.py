"""Read-only queries for networks; rows are returned as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from producer.images.origin import DataOrigin
from schema.errors import NetworkError, NotFound
from schema.network.architecture import Architecture
from schema.network.names import parse
from schema.network.source_table import source_table_of
from schema.parameters.choices import Origin
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Network, TrainingSet

# A user's own network goes before a shipped one of the same name or size.
_origin: ColumnElement[str] = func.coalesce(Network.training["origin"].as_string(), Origin.TRAINED.value)
is_shipped: ColumnElement[bool] = _origin == Origin.SHIPPED.value
is_experiment: ColumnElement[bool] = _origin == Origin.EXPERIMENT.value


@dataclass(frozen=True)
class SourceFigures:
    """One source: its visible units, its training, and the own accuracy without it and with it alone.

    An accuracy is None where no image of the training was without the sources that it leaves out.
    """

    name: str
    visible: int
    decay: float  # L2 on its first dense layer
    dropout: float  # share of the training images that did without it
    without: float | None
    alone: float | None


@dataclass(frozen=True)
class NetworkSources:
    """The sources of a network; ``accuracy`` is its own with all of them. None: it was not measured.

    It was measured on that many ``images``, ``held_out`` or else those trained on.
    """

    accuracy: float | None
    images: int | None
    held_out: bool | None
    sources: tuple[SourceFigures, ...]

    def __str__(self) -> str:
        """Return the accuracies in words; empty: they are not known."""
        if self.accuracy is None:
            return ""
        known = [(f"without {each.name}", each.without) for each in self.sources if each.without is not None]
        parts = [f"{words} {share:.2%}" for words, share in (("with all", self.accuracy), *known)]
        kind = "held-out" if self.held_out else "training"
        return f"own accuracy {', '.join(parts)}, of {self.images:,} {kind} images"


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What is said of a network wherever it is listed."""

    network_id: int
    name: str
    version: int
    origin: str  # trained, imported or shipped
    state: NetworkState
    is_default: bool  # chosen by a user for images of its size
    shape: str  # of an image: 28x28, 64x64x3 or 1280
    dtype: str  # of its values: uint8 or float32
    classes: tuple[str, ...]
    training: dict[str, Any]
    weights_sha256: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NetworkSummary(NetworkFacts):
    """A network as `networks list` and `networks show` print it."""

    architecture: dict[str, Any]
    metrics: dict[str, Any] | None

    @property
    def pinned(self) -> str:
        """Return `NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    @property
    def image_shape(self) -> ImageShape:
        """Return the shape of its images."""
        return ImageShape.parse(self.shape, self.dtype)

    @property
    def own_accuracy(self) -> float | None:
        """Return the network's own accuracy on images held out while training, at its best epoch."""
        return self._accuracy("own_accuracy", "validation_accuracy")

    @property
    def train_accuracy(self) -> float | None:
        """Return the network's own accuracy on the images it was trained on, at its best epoch."""
        return self._accuracy("train_accuracy", "train_accuracy")

    @property
    def balanced_accuracy(self) -> float | None:
        """Return the balanced accuracy on the images of the own accuracy; None if classes are balanced."""
        return self._balance("balanced_accuracy")

    @property
    def auc(self) -> float | None:
        """Return the mean area under the ROC curves of the classes; None if classes are balanced."""
        return self._balance("auc")

    @property
    def sources(self) -> NetworkSources | None:
        """Return its sources, and what each adds; None: it has none."""
        if not self.architecture.get("source"):
            return None
        architecture, table = Architecture.from_dict(self.architecture), source_table_of(self.metrics)
        measured = {} if table is None else {row.name: row for row in table.rows}
        figures = []
        for source in architecture.source:
            block, row = architecture.blocks[source.name], measured.get(source.name)
            figures.append(
                SourceFigures(
                    source.name,
                    block.stop - block.start,
                    architecture.training.dense_decay if source.decay is None else source.decay,
                    source.dropout,
                    None if row is None else row.without,
                    None if row is None else row.alone,
                )
            )
        if table is None:
            return NetworkSources(None, None, None, tuple(figures))
        return NetworkSources(table.all, table.images, table.held_out, tuple(figures))

    def _balance(self, key: str) -> float | None:
        metrics = self.metrics or {}
        quality = metrics.get("quality") or {}
        figure: float | None = quality.get(key) if quality.get("unbalanced") else metrics.get(key)
        return figure

    def _accuracy(self, key: str, key_of_epoch: str) -> float | None:
        # Imported and shipped networks have one figure, trained ones the figures of every epoch.
        metrics = self.metrics or {}
        best = metrics.get("best_epoch")
        accuracy: float | None = metrics["epochs"][best - 1][key_of_epoch] if best else metrics.get(key)
        return accuracy


@dataclass(frozen=True)
class TrainedOn:
    """A training set: ``origin`` says where its images came from, if that is known."""

    name: str
    count: int
    origin: DataOrigin | None


def networks(session: Session) -> list[NetworkSummary]:
    """Return all networks, newest first."""
    return [_network(row) for row in session.execute(select(Network).order_by(Network.id.desc())).scalars()]


def network(session: Session, network_id: int) -> NetworkSummary:
    """Return the network ``network_id``; raise NotFound."""
    row = session.get(Network, network_id)
    if row is None:
        raise NotFound(f"no network {network_id}: `annealq networks list` lists them")
    return _network(row)


def network_by_name(session: Session, name: str) -> NetworkSummary:
    """Return the version of ``name`` that it stands for, or the one after ``@``.

    It stands for the newest version that can be used: a user's own before a shipped one, and before one of an
    experiment.

    Raises:
        NotFound: there is none.
        NetworkError: the text after ``@`` is not a version.
    """
    base, version = parse(name)
    order = (Network.state != NetworkState.READY, is_experiment, is_shipped, Network.version.desc())
    query = select(Network).where(Network.name == base).order_by(*order)
    if version is not None:
        query = query.where(Network.version == version)
    row = session.execute(query.limit(1)).scalar()
    if row is None:
        raise NotFound(f"no network {name!r}: `annealq networks list` lists them")
    return _network(row)


def weights(session: Session, network_id: int) -> bytes:
    """Return the weights of network ``network_id`` as safetensors; raise NetworkError while it has none."""
    row = session.execute(
        select(Network.name, Network.version, Network.state, Network.weights).where(Network.id == network_id)
    ).one()
    if row.weights is None or row.state is not NetworkState.READY:
        raise NetworkError(f"network {row.name}@{row.version} is {row.state}: it has no weights yet")
    data: bytes = row.weights
    return data


def training_set(session: Session, network_id: int) -> TrainedOn | None:
    """Return what network ``network_id`` was trained on; None: it was not trained here."""
    row = session.execute(
        select(TrainingSet.name, TrainingSet.count, TrainingSet.data)
        .join(Network, Network.training_set_id == TrainingSet.id)
        .where(Network.id == network_id)
    ).first()
    if row is None:
        return None
    name, count, data = row
    return TrainedOn(name, count, None if data is None else DataOrigin.from_dict(data))


def _network(row: Network) -> NetworkSummary:
    return NetworkSummary(
        network_id=row.id,
        name=row.name,
        version=row.version,
        origin=row.training.get("origin", Origin.TRAINED.value),
        state=row.state,
        is_default=row.is_default,
        shape=row.shape,
        dtype=row.dtype,
        classes=tuple(row.classes),
        architecture=row.architecture,
        training=row.training,
        metrics=row.metrics,
        weights_sha256=row.weights_sha256,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
