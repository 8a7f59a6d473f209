"""What a training says of its quality and its labels: in the database, on the terminal, in exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from producer.images.imageset import ImageSet
from producer.networks import bundle, versions
from producer.networks import queries as networks_queries
from producer.networks.training import enqueue_training
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters.choices import Origin
from tests.integration.conftest import Cli, work_off
from worker.context import Context

CLASSES = ("ant", "bee", "cow", "dog")


def few_dogs() -> ImageSet:
    """80 ants, 80 bees that differ by their place, 8 dogs and no cow; one ant is called a bee."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 3], [80, 80, 8])
    images = rng.integers(0, 3, (len(truth), 8, 8)).astype(np.uint8)
    for image, k in zip(images, truth, strict=True):
        image[2 * k : 2 * k + 2] += 12
    labels = truth.copy()
    labels[7] = 1
    return ImageSet("few dogs", images, labels, CLASSES, None)


def layers(**training: object) -> Architecture:
    return Architecture.from_dict(
        {
            "name": "pets",
            "input": {"height": 8, "width": 8, "image_max": 16},
            "classes": 4,
            "features": [{"kind": "dense", "units": 8, "activation": "tanh"}],
            "training": {"epochs": 12, "batch_size": 16, "validation": 0.25, **training},
        }
    )


def test_figures_of_a_training_are_shown_and_exported(context: Context, cli: Cli, tmp_path: Path) -> None:
    queued = enqueue_training(
        context.database, layers(class_weights="balanced", refit=True), few_dogs(), transfer="energy", seed=0
    )
    work_off(context, Message(Task.TRAIN_NETWORK, queued.id))
    with context.database.reading() as session:
        network = networks_queries.network(session, queued.id)
    metrics = network.metrics or {}
    quality, check = metrics["quality"], metrics["label_check"]
    best = metrics["epochs"][metrics["best_epoch"] - 1]
    assert quality["unbalanced"] is True
    assert quality["held_out"] is True
    assert quality["images"] == 42
    assert best["validation_accuracy"] == quality["accuracy"]
    assert best["validation_balanced_accuracy"] == quality["balanced_accuracy"]
    assert check["missing"] == [2]
    assert check["missing_held_out"] == []
    assert [(each["image"], each["label"], each["predicted"]) for each in check["worst"]] == [(7, 1, 0)]
    shown = " ".join(cli("networks", "show", "pets").split())
    assert f"balanced accuracy {quality['balanced_accuracy']:.2%}, AUC {quality['auc']:.4f}" in shown
    assert "before it was trained on all of them" in shown
    assert "no image that was trained on shows cow" in shown
    assert "disputes 1 of 168 labels, counted from 0 as in the data: image 7 (bee, looks like ant)" in shown

    cli("networks", "export", "pets", "-o", tmp_path / "pets.safetensors")
    exported = bundle.load(tmp_path, "pets")
    again = versions.install(context.database, exported, Origin.IMPORTED)
    with context.database.reading() as session:
        imported = networks_queries.network(session, again.id)
    for name in ("own_accuracy", "balanced_accuracy", "auc"):
        assert getattr(imported, name) == getattr(network, name) is not None
    listed = json.loads((tmp_path / "pets.json").read_text())["architecture"]["training"]
    assert (listed["class_weights"], listed["refit"]) == ("balanced", True)


def test_options_at_their_defaults_leave_no_trace() -> None:
    plain = layers()
    spelt = layers(class_weights="equal", refit=False, dense_decay=0.0, batch_norm=None)
    assert spelt.to_dict() == plain.to_dict()
    assert not {"class_weights", "refit", "dense_decay", "batch_norm"} & set(plain.to_dict()["training"])
    kept = {"class_weights": "balanced", "refit": True, "dense_decay": 2.0, "batch_norm": False}
    assert layers(**kept).to_dict()["training"].items() >= kept.items()
    assert Architecture.from_dict(layers(**kept).to_dict()) == layers(**kept)
