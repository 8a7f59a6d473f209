"""Rates how certain the classes of the images of a batch are: gaps, probabilities, and sets of classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays, nonconformity
from schema.codecs.corruption import stored_in
from schema.errors import ParameterError
from worker.compute.certainty import probabilities
from worker.compute.certainty.class_sets import SetRule
from worker.compute.certainty.gaps import energy_gaps
from worker.network.temperature import probabilities as class_probabilities
from worker.network.trained import TrainedNetwork
from worker.records.batches import BatchInput

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rater:
    """Rates images of a run.

    Attributes:
        temperature: of their probabilities.
        rule: of their sets of classes; None in a run without a confidence.
    """

    network: TrainedNetwork
    temperature: float
    rule: SetRule | None

    @classmethod
    def of(cls, network: TrainedNetwork, batch_input: BatchInput) -> Rater:
        """Return the rater for the run of ``batch_input``.

        Raises:
            Corrupt: the nonconformity of its calibration is damaged.
            ParameterError: the calibration cannot give the confidence of the run.
        """
        temperature = network.temperature if batch_input.temperature is None else batch_input.temperature
        return cls(network, temperature, _rule(network, batch_input))

    def rate(
        self,
        features: FloatArray,
        energies: FloatArray,
        predicted: NDArray[np.int16],
        numbers: NDArray[np.integer],
    ) -> list[dict[str, Any]]:
        """Return what `Scored` says about the certainty of each image, by the names of its fields.

        Args:
            features: (B, nv) float64, of the images.
            energies: (B, K) float64, of the classes by the reads; see `gaps.class_energies`.
            predicted: (B,), class or -1.
            numbers: (B,), indices of the images within the run.
        """
        from worker.network.objective import scores_of_features  # torch, which readers of reads do without

        own = scores_of_features(self.network.module, features, self.network.transfer)
        shares = class_probabilities(own, self.temperature)
        rated = {
            "energy_gap": _nullable(energy_gaps(energies, predicted)),
            "probability": _nullable(probabilities.of_winners(shares, predicted)),
            "probabilities": arrays.encode_scores(shares),
        }
        if self.rule is not None:
            sets = self.rule.sets(energies, predicted, numbers)
            rated |= {"class_set": arrays.encode_class_sets(sets), "set_size": sets.sum(axis=1).tolist()}
        return [dict(zip(rated, values, strict=True)) for values in zip(*rated.values(), strict=True)]


def _rule(network: TrainedNetwork, batch_input: BatchInput) -> SetRule | None:
    parameters, basis = batch_input.parameters, batch_input.set_basis
    if parameters.confidence is None:
        return None
    if basis is None:
        raise ParameterError(
            f"run {batch_input.run} has a confidence, and no calibration to make sets of classes by: "
            "calibrate, and classify again"
        )
    with stored_in(f"calibration {basis.calibration}", "calibrate again"):
        known = nonconformity.decode(basis.nonconformity)
    return SetRule.of(parameters, known, basis.had, basis.plan, network.architecture.classes)


def _nullable(values: FloatArray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
