"""Trained networks: their features, classes and energies, as numpy arrays and as models of dimod."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from producer.images.given import read_given
from producer.images.preprocessing import Preprocessing, ReadAs
from producer.networks import bundle, description, shipped
from producer.networks.bundle import Bundle
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from schema.errors import ImageError, NetworkError, ParameterError
from schema.network import weights as encoding
from schema.network.architecture import Architecture
from schema.network.layers import Input, VectorInput
from schema.network.temperature import temperature_of
from schema.parameters import Parameters
from schema.parameters.declarations import solver as solver_named
from schema.quantities import count_text
from schema.shapes import InputArray
from worker.annealers.local import local_annealer
from worker.compute import consensus
from worker.network import inference
from worker.network.temperature import probabilities as class_probabilities
from worker.network.trained import TrainedNetwork
from worker.qubo.energy_model import EnergyModel

if TYPE_CHECKING:
    import dimod

FloatArray = NDArray[np.float64]
Visible = Literal["sampled", "folded"]


class Network:
    """A trained network, which is also an energy function of binary units. It does not change.

    The units of the energy are the visible units, hidden units if there are any, and one unit for each class,
    in this order. ``visible="folded"`` leaves the visible units out: their values become biases.

    Images are (B, H, W) or (B, H, W, 3) uint8, vectors (B, D); they are prepared as for a run. The methods
    raise ImageError for images that the network does not take.

    >>> network = Network.load("digits")
    >>> network.shape, network.classes[:3], network.units
    ((8, 8), ('0', '1', '2'), 50)
    >>> image = np.zeros((8, 8), np.uint8)
    >>> Q = network.q_matrix(image)
    >>> reads = np.zeros((1, network.units), np.uint8)
    >>> Q.shape, float(network.energies(image, reads)[0])
    ((50, 50), 0.0)
    """

    def __init__(self, bundle: Bundle) -> None:
        """Take a complete network; users call `load`, `from_weights` or `Queue.network`."""
        self._bundle = bundle

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> Network:
        """Load a network that comes with annealq, or one from its files.

        Args:
            source: the name of a shipped network, such as "digits"; or the path of NAME.safetensors, which
                has NAME.json next to it, as `save` and `annealq networks export` write them.

        Raises:
            NetworkError: there is no such network, or its files cannot be used; pickles are never read.
        """
        path = Path(source)
        if path.suffix in (bundle.SUFFIX, ".json"):
            described = description.read(path.with_suffix(".json"))
            return cls(bundle.join(described, path.with_suffix(bundle.SUFFIX)))
        if str(source) in shipped.names():
            return cls(shipped.load(str(source)))
        raise NetworkError(
            f"no network {str(source)!r}: name one of {', '.join(shipped.names())}, or the path of "
            f"NAME{bundle.SUFFIX}; Queue().network(NAME) has those of the database"
        )

    @classmethod
    def from_weights(
        cls,
        architecture: Mapping[str, Any],
        weights: Mapping[str, NDArray[np.float32]],
        *,
        classes: Sequence[str] | None = None,
        transfer: Literal["energy", "paper"] = "energy",
    ) -> Network:
        """Return the network of layers and weights.

        Args:
            architecture: layers as in a file of layers, see docs/images-and-networks.md.
            weights: float32 arrays, named and laid out as in torch.
            classes: their names; None: their numbers.
            transfer: how it was trained.

        Raises:
            NetworkError: no such network is possible, or the weights do not fit.
        """
        layers = Architecture.from_dict(dict(architecture))
        return cls(
            Bundle(description.describe(layers, classes, transfer=transfer), encoding.encode(weights, layers))
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"_bundle": self._bundle}  # without what is computed from it

    @property
    def name(self) -> str:
        """Return the name of the network."""
        return self._architecture.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the K classes, in the order of scores."""
        return self._bundle.description.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of an image: (H, W), (H, W, 3) or (D,).

        A network with backbones takes their vectors here, in a row, and after them the pixels if a source
        sees them.
        """
        return self._input.image_shape.sizes

    @property
    def architecture(self) -> dict[str, Any]:
        """Return the layers and options of the training, as plain JSON values."""
        return self._architecture.to_dict()

    @property
    def units(self) -> int:
        """Return the number n of binary units of the energy, the visible ones among them."""
        return self._architecture.units

    @property
    def visible_units(self) -> int:
        """Return the number of visible units, which is that of feature values."""
        return self._architecture.visible

    @property
    def temperature(self) -> float:
        """Return the temperature by which class scores are divided for `probabilities`; 1: not fitted."""
        return temperature_of(self._bundle.description.metrics)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        classes = count_text(len(self.classes), "class")
        return f"<Network {self.name!r}: {shape} to {classes}, {self.units} units>"

    def features(self, images: ArrayLike) -> FloatArray:
        """Return the feature values (B, nv) float64 in [-alpha, alpha]: minus the visible units' biases."""
        return self._trained.features(self._taken(images))

    def class_scores(self, images: ArrayLike) -> FloatArray:
        """Return the network's own class scores (B, K) float64, without any sampling.

        They are minus free energies of the classes, times the inverse temperature of the training.
        """
        trained = self._trained
        return inference.scores(trained.architecture, trained.weights, self._taken(images), trained.transfer)

    def classify(self, images: ArrayLike) -> NDArray[np.int64]:
        """Return the network's own classes (B,) int64, without any sampling."""
        return np.asarray(self.class_scores(images).argmax(axis=1), np.int64)

    def probabilities(self, images: ArrayLike) -> FloatArray:
        """Return the probability (B, K) float64 of each class: softmax of class scores / temperature."""
        return class_probabilities(self.class_scores(images), self.temperature)

    def linear(
        self, images: ArrayLike, *, visible: Visible = "sampled", lam: float | None = None
    ) -> FloatArray:
        """Return the linear biases (B, n) float64 of the energy: all that differs between images.

        Args:
            images: those to classify.
            visible: sampled, or folded into biases.
            lam: one-hot penalty of the class units; None: the network's.
        """
        return self._model(visible, lam).linear(self.features(images))

    def quadratic(self, *, visible: Visible = "sampled", lam: float | None = None) -> FloatArray:
        """Return the quadratic biases (n, n) float64, strictly upper triangular, of all images; read-only.

        ``visible`` and ``lam`` are as for `linear`.
        """
        return self._model(visible, lam).quadratic

    def q_matrix(
        self, image: ArrayLike, *, visible: Visible = "sampled", lam: float | None = None
    ) -> FloatArray:
        """Return Q (n, n) float64, upper triangular, of one image: E(x) = x^T Q x for x in {0, 1}^n.

        ``visible`` and ``lam`` are as for `linear`.
        """
        return self._model(visible, lam).q_matrix(self._features_of_one(image))

    def bqm(
        self, image: ArrayLike, *, visible: Visible = "sampled", lam: float | None = None
    ) -> dimod.BinaryQuadraticModel:
        """Return the energy of one image as a binary quadratic model, for any sampler of Ocean.

        Its variables are 0 to n - 1, in the order of the units; couplings of 0 are left in.
        ``visible`` and ``lam`` are as for `linear`.
        """
        import dimod

        model = self._model(visible, lam)
        linear = model.linear(self._features_of_one(image)[np.newaxis])[0]
        quadratic = (model.edges[:, 0], model.edges[:, 1], model.couplings)
        return dimod.BinaryQuadraticModel.from_numpy_vectors(linear, quadratic, 0.0, dimod.BINARY)

    def energies(
        self,
        image: ArrayLike,
        reads: ArrayLike,
        *,
        visible: Visible = "sampled",
        lam: float | None = None,
    ) -> FloatArray:
        """Return the energies (R,) float64 of reads of one image.

        Args:
            image: the one that was read.
            reads: (R, n) in {0, 1}, units in their order.
            visible, lam: as for `linear`.

        Raises:
            ParameterError: the reads have another shape or values.
        """
        model = self._model(visible, lam)
        linear = model.linear(self._features_of_one(image)[np.newaxis])
        return np.asarray(model.energies(linear, _bits(reads, model.units, 2)[np.newaxis])[0])

    def sample(
        self,
        images: ArrayLike,
        *,
        solver: Literal["local", "exact"] = "local",
        reads: int = 100,
        seed: int = 0,
        sweeps: int | None = None,
        visible: Visible = "sampled",
        lam: float | None = None,
    ) -> NDArray[np.uint8]:
        """Draw reads (B, R, n) uint8 of images in this process.

        The reads of an image depend on these arguments and on its place among the images only.

        Args:
            images: those to classify.
            solver: local: simulated annealing; exact: independent draws of the Boltzmann distribution, for
                small networks.
            reads: of each image, R.
            seed: the same seed gives the same reads.
            sweeps: of the local annealer for each read; None: its default.
            visible, lam: as for `linear`.

        Raises:
            ParameterError: an argument is out of range, or the solver does not have it.
            SolverError: the solver does not take this network.
        """
        given = {"reads": reads, "seed": seed, "sweeps": sweeps, "visible": visible, "lam": lam}
        parameters, chosen = Parameters.from_dict(given), solver_named(solver)
        if chosen.is_remote:
            raise ParameterError(
                f"solver {solver} does not work in this process: choose local or exact, or submit the "
                "images to a Queue or Client"
            )
        parameters.check_for(chosen)
        model = self._model(visible, lam)
        annealer = local_annealer(chosen, parameters)
        return annealer.sample(model, model.linear(self.features(images)), reads, seed).bits

    def read_scores(
        self,
        images: ArrayLike,
        reads: ArrayLike,
        *,
        fraction: float = consensus.DEFAULT_FRACTION,
        visible: Visible = "sampled",
        lam: float | None = None,
    ) -> FloatArray:
        """Return consensus class scores (B, K) float64 in [0, 1]: the mean of each class unit.

        Args:
            images: those that were read.
            reads: (B, R, n) in {0, 1}, by any sampler.
            fraction: share of the reads that count, those of lowest energy.
            visible, lam: as for `linear`.

        Raises:
            ParameterError: the reads have another shape or values, or the fraction is not in (0, 1].
        """
        model = self._model(visible, lam)
        bits = _bits(reads, model.units, 3)
        energies = model.energies(model.linear(self.features(images)), bits)
        return consensus.score(bits[..., model.class_units], energies, fraction=fraction).scores

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network to NAME.safetensors and NAME.json, for `load` and `annealq networks import`.

        Args:
            path: of the file with the weights; it ends with .safetensors.

        Raises:
            ParameterError: the path ends otherwise, or cannot be written.
            StorageError: no space is left.
        """
        return bundle.save(self._bundle, Path(path))

    @property
    def _architecture(self) -> Architecture:
        return self._bundle.description.architecture

    @cached_property
    def _trained(self) -> TrainedNetwork:
        architecture = self._architecture
        return TrainedNetwork(
            architecture,
            encoding.decode(self._bundle.data, architecture),
            self._bundle.description.transfer,
            self.temperature,
        )

    def _model(self, visible: str, lam: float | None) -> EnergyModel:
        return self._trained.model(visible, lam)

    @property
    def _input(self) -> Input:
        values = self._architecture.joined_values
        if values is None:
            return self._architecture.input
        return VectorInput.from_dict({"kind": "vector", "values": values})

    def _taken(self, images: ArrayLike) -> InputArray:
        """Return ``images`` as the network takes them; raise ImageError."""
        takes = self._input
        kind = ReadAs.VECTORS if takes.image_shape.is_vector else ReadAs.IMAGES
        given = read_given(images, None, Preprocessing(read_as=kind))
        taken = match_images(given, ChosenNetwork(0, self.name, takes, self.classes)).images
        return taken if self._architecture.joined_values is None else taken.astype(np.float16)

    def _features_of_one(self, image: ArrayLike) -> FloatArray:
        return np.asarray(self.features(_one(image, len(self.shape)))[0])


def _one(image: ArrayLike, axes: int) -> NDArray[Any]:
    """Return ``image`` as a batch of one; raise ImageError unless it has that many ``axes``."""
    array = np.asarray(image)
    if array.ndim != axes:
        raise ImageError(f"an image of shape {array.shape} was given: give one image with {axes} axes")
    return array[np.newaxis]


def _bits(reads: ArrayLike, units: int, axes: int) -> NDArray[np.uint8]:
    """Return ``reads`` as uint8; raise ParameterError for other shapes or values."""
    array = np.asarray(reads)
    if array.ndim != axes or array.shape[-1] != units:
        wanted = "(R, n)" if axes == 2 else "(B, R, n)"
        raise ParameterError(f"reads must be {wanted} with n = {units} units, not {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise ParameterError("reads must be 0 or 1: convert spins s by (s + 1) / 2")
    return array.astype(np.uint8)
