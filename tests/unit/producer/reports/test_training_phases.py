"""A training that is repeated on all images shows each of its two phases by itself."""

from __future__ import annotations

from typing import Any

from producer.reports.progress import epoch_text, training_phases


def epoch(number: int, of: int, *, refit: bool = False, right: float | None = 0.5) -> dict[str, Any]:
    return {"epoch": number, "epochs": of, "loss": 1.5, "validation_accuracy": right, "refit": refit}


def test_each_phase_counts_its_own_epochs() -> None:
    first = [epoch(number, 100) for number in range(1, 95)]
    again = [epoch(number, 84, refit=True, right=None) for number in range(1, 10)]
    shown = {
        name: (epochs[-1]["epoch"], epochs[-1]["epochs"])
        for name, epochs in training_phases([*first, *again]).items()
    }
    assert shown == {"training": (94, 94), "on all images": (9, 84)}  # the first ended early
    assert training_phases(first)["training"][-1]["epochs"] == 100
    assert epoch_text(first) == "epoch 94 of 100: loss 1.5000, 50.00% of held-out images correct"
    assert epoch_text(again) == "on all images, epoch 9 of 84: loss 1.5000"


def test_nothing_is_shown_before_the_first_epoch() -> None:
    assert training_phases([]) == {}
