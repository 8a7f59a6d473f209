"""The epochs of a training as rows: one for each epoch that was run."""

from __future__ import annotations

from typing import Any

from producer.networks.queries import NetworkSummary
from schema.errors import NotFound

COLUMNS: dict[str, type] = {
    "step": int,  # counted from 1, through both phases
    "phase": str,  # training, or refit on all images
    "epoch": int,  # counted from 1 in each phase
    "loss": float,
    "train_accuracy": float,
    "validation_loss": float,
    "validation_accuracy": float,
    "validation_balanced_accuracy": float,
    "seconds": float,
}
"""Names and types of the values of a row, which may also be None."""


def epoch_rows(network: NetworkSummary) -> list[dict[str, Any]]:
    """Return a row for each epoch of the training of ``network``, also of one that continues.

    Raises:
        NotFound: its epochs are not known: it was imported or shipped, or its training has not begun.
    """
    epochs = (network.metrics or {}).get("epochs")
    if not epochs:
        raise NotFound(
            f"network {network.pinned} has no epochs: it is {network.state}, and {network.origin}; "
            "networks that were trained here have them once the first epoch has ended"
        )
    return [
        {name: epoch.get(name) for name in COLUMNS}
        | {"step": step, "phase": "refit" if epoch.get("refit") else "training"}
        for step, epoch in enumerate(epochs, 1)
    ]
