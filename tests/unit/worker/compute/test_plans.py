"""Plans of reads, against reading image by image; and which of them are stored and chosen."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schema.parameters import Rule
from worker.compute import consensus
from worker.compute.candidates import Choice
from worker.compute.plans.choice import Prices, compare_plans
from worker.compute.plans.outcomes import outcomes_of
from worker.compute.plans.simulation import (
    Outcomes,
    ReadPlan,
    list_plans,
    numbers_of_reads,
    simulate,
)
from worker.compute.scoring import Reads

CHOICE = Choice(30, Rule.LOWEST_ENERGY_MEAN)
PRICES = Prices(7, 15_000.0, 210.0)


def made_reads(seed: int, images: int = 40, reads: int = 30, classes: int = 3) -> tuple[np.ndarray, ...]:
    """Bits (B, R, K), energies (B, R) and labels (B,) of images that are more or less certain."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    hardness = rng.random(images)
    others = rng.integers(0, classes, (images, reads))
    shown = np.where(rng.random((images, reads)) < hardness[:, None], others, labels[:, None])
    bits = (shown[..., None] == np.arange(classes)).astype(np.uint8)
    bits[rng.random((images, reads)) < 0.3 * hardness[:, None]] = 0
    energies = np.round(rng.normal(size=(images, reads)) + 2.0 * (shown != labels[:, None]), 3)
    return bits, energies, labels


def read_one(bits: np.ndarray, energies: np.ndarray, reads: int) -> tuple[int, float]:
    """Return the class of one image by its first reads, and its gap."""
    scored = consensus.score(bits[None, :reads], energies[None, :reads], CHOICE.rule, CHOICE.fraction)
    predicted = int(scored.predicted[0])
    if predicted < 0:
        return predicted, -math.inf
    lowest = [math.inf] * bits.shape[1]
    for read, energy in zip(bits[:reads].tolist(), energies[:reads].tolist(), strict=True):
        if sum(read) == 1:
            lowest[read.index(1)] = min(lowest[read.index(1)], energy)
    others = min(energy for k, energy in enumerate(lowest) if k != predicted)
    gap = others - lowest[predicted] if math.isfinite(lowest[predicted]) else math.inf
    return predicted, gap


@given(st.integers(0, 2**32))
def test_a_plan_gives_what_reading_image_by_image_gives(seed: int) -> None:
    bits, energies, labels = made_reads(seed, images=20)
    outcomes = outcomes_of(Reads(bits, energies), labels, None, CHOICE, numbers_of_reads(30))
    plans = list_plans(outcomes)
    read = cache(lambda image, reads: read_one(bits[image], energies[image], reads))
    for plan in plans[:: max(len(plans) // 7, 1)]:
        sent, right = [0] * len(plan.later), []
        for image in range(len(labels)):
            reads = plan.reads
            predicted, gap = read(image, reads)
            for number, later in enumerate(plan.later):
                if gap >= later.gap:
                    break
                sent[number] += 1
                reads += later.reads
                predicted, gap = read(image, reads)
            right.append(predicted == labels[image])
        simulated = simulate(plan, outcomes)
        assert simulated.right.tolist() == right
        assert simulated.shares == tuple(number / len(labels) for number in sent)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_no_plan_needs_more_reads_than_are_stored(seed: int, most: int) -> None:
    bits, energies, labels = made_reads(seed, reads=most)
    outcomes = outcomes_of(Reads(bits, energies), labels, None, CHOICE, numbers_of_reads(most))
    plans = list_plans(outcomes)
    assert ReadPlan(most) in plans
    for plan in plans:
        assert plan.reads + sum(later.reads for later in plan.later) <= most
        assert all(later.gap >= 0 for later in plan.later)  # as runs take it


@given(st.integers(0, 2**32))
def test_what_is_stored_holds_the_cheapest_good_plan_for_any_run(seed: int) -> None:
    bits, energies, labels = made_reads(seed, images=200)
    minima = np.full((200, 3), 3.0)
    outcomes = outcomes_of(Reads(bits, energies), labels, minima, CHOICE, numbers_of_reads(30))
    stored = compare_plans(outcomes, PRICES)
    listed = stored["listed"]
    everything = [simulate(plan, outcomes) for plan in list_plans(outcomes)]
    most = max(each.right.sum() for each in everything)
    assert max(each["right"] for each in listed) == most
    chosen, fixed = listed[stored["chosen"]], listed[stored["fixed"]]
    assert chosen["eligible"]
    assert fixed["rounds"] == []
    for images in (100, 1_000, 1_000_000):
        costs = [cost_of_run(each, images) for each in listed]
        as_good = [cost for cost, each in zip(costs, listed, strict=True) if each["eligible"]]
        best = [PRICES.of_run(each, images) for each in everything if each.right.sum() == most]
        assert min(as_good) <= min(best)


def cost_of_run(plan: dict, images: int) -> float:
    rounds = [(plan["reads"], 1.0)]
    rounds += [(reads, share) for (reads, _), share in zip(plan["rounds"], plan["shares"], strict=True)]
    return sum(
        math.ceil(round(images * share, 6) / 7 - 1e-9) * (15_000 + 210 * reads) for reads, share in rounds
    )


def test_hard_images_alone_are_read_again_where_reads_cost_much() -> None:
    """Of 1,000 images 50 need 30 reads, and their gaps are small."""
    numbers = numbers_of_reads(30)
    gaps = np.full((len(numbers), 1_000), 5.0)
    gaps[:-1, :50] = 0.5
    right = np.ones(gaps.shape, np.bool_)
    right[:-1, :50] = False
    outcomes = Outcomes(numbers, right, gaps)
    plans = compare_plans(outcomes, PRICES)
    chosen = plans["listed"][plans["chosen"]]
    assert chosen["reads"] == 5
    assert [reads for reads, _ in chosen["rounds"]] == [25]
    assert chosen["shares"] == [0.05]
    assert plans["listed"][plans["fixed"]]["reads"] == 30
