"""Computes the features of a bundle again from its images, if it has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schema.codecs import arrays
from schema.errors import Corrupt
from worker.compute.linear_terms import LinearTerms
from worker.proof import documents
from worker.proof.container.archive import DamagedPart
from worker.proof.contents import Contents
from worker.proof.scores import WITHIN


@dataclass(frozen=True)
class Features:
    """How features that were computed again compare with those of the bundle.

    Attributes:
        images: that were compared.
        unequal: of these, those whose last bits differ on this machine.
        largest: difference.
        wrong: features that are not those of their images.
    """

    images: int
    unequal: int
    largest: float
    wrong: tuple[DamagedPart, ...]


def check_images(contents: Contents) -> None:
    """Compare the images of ``contents`` with their SHA-256; raise DamagedPart if they differ."""
    for batch, said in enumerate(contents.batches):
        if said.round == 1:
            _images(contents, batch)


def compare(contents: Contents) -> Features:
    """Compute the features of the images of ``contents`` again, of batches of the first round of reads.

    Raises:
        DamagedPart: images are damaged.
        ImageError: the network takes no such images.
    """
    images, unequal, largest, wrong = 0, 0, 0.0, list[DamagedPart]()
    for batch, said in enumerate(contents.batches):
        if said.round > 1:
            continue
        terms = LinearTerms(contents.network, contents.model, _images(contents, batch))
        apart = np.abs(terms.features(slice(None)) - contents.features(batch)).max(axis=1, initial=0.0)
        images, unequal = images + said.count, unequal + int((apart > 0.0).sum())
        largest = max(largest, float(apart.max(initial=0.0)))
        if apart.max(initial=0.0) > WITHIN:
            image = said.first_image + int(apart.argmax())
            name = documents.features_file(batch)
            wrong.append(DamagedPart(name, f"has features of image {image} that are not those of its pixels"))
    return Features(images, unequal, largest, tuple(wrong))


def _images(contents: Contents, batch: int) -> np.ndarray:
    said, name = contents.batches[batch], documents.images_file(batch)
    batch_input = contents.batch_input(batch)
    try:
        return arrays.decode_images(
            contents.archive.content(name),
            said.count,
            batch_input.shape,
            said.images_sha256,
            batch_input.labels,
        )
    except Corrupt as error:
        raise DamagedPart(name, str(error)) from None
