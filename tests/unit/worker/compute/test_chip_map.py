"""Field errors of chains, from exact Boltzmann draws of a chip that has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.worker.compute.test_problem_checks import IMAGES, READS, UNITS, a_problem, boltzmann_reads
from worker.compute.chip_map import ChainTotals

BETA, BIAS = 3.0, -0.01
BAD = (7, 3)  # tile and unit


def test_the_one_chain_with_another_field_is_found_on_whatever_tiles_images_lie() -> None:
    totals = ChainTotals(IMAGES, UNITS)
    for number in range(6):
        sent, tiles = a_problem(number), (5 * number + np.arange(IMAGES)) % IMAGES
        h = sent.h.copy()
        h[np.flatnonzero(tiles == BAD[0])[0], BAD[1]] += 0.15
        reads = boltzmann_reads(replace(sent, h=h), BETA, BIAS, seed=number)
        breaks = np.full((IMAGES, UNITS), 0.01)
        breaks[tiles == BAD[0]] = 0.05
        totals.add(tiles, reads, breaks, sent, BETA, BIAS)
    errors, spreads = totals.field_errors()
    z = errors / spreads
    assert np.unravel_index(np.argmax(np.abs(z)), z.shape) == BAD
    # The prior, and one step instead of the maximum, make it smaller.
    assert errors[BAD] == pytest.approx(0.13, abs=0.04)
    others = np.delete(z.ravel(), BAD[0] * UNITS + BAD[1])
    assert others.std() == pytest.approx(1.0, abs=0.15)
    broken = totals.broken()
    usual = 0.01 + 0.04 / IMAGES
    assert broken[BAD[0]] == pytest.approx(0.05 / usual)
    assert np.delete(broken, BAD[0], axis=0) == pytest.approx(0.01 / usual)


def test_a_tile_without_reads_has_no_field_error() -> None:
    totals, sent = ChainTotals(IMAGES + 1, UNITS), a_problem(1)
    bits = np.zeros((IMAGES, READS, UNITS), dtype=np.uint8)
    totals.add(np.arange(IMAGES), bits, np.zeros((IMAGES, UNITS)), sent, BETA, BIAS)
    errors, spreads = totals.field_errors()
    assert np.isfinite(errors).all()
    assert np.isinf(spreads[-1]).all()
    assert np.isnan(totals.broken()).all()
