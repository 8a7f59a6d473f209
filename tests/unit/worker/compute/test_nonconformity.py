"""Scores of images that are read in several rounds are those of the reads that each image got."""

from __future__ import annotations

import numpy as np

from schema.codecs.nonconformity import ReadOutcome, ReadsHad, after_rounds, totals

INF = np.inf


def test_uncertain_images_have_the_scores_of_all_of_their_reads() -> None:
    first = ReadOutcome(np.array([0.0, 1.0, 2.0, 3.0]), np.array([-INF, 0.5, 0.25, 9.0]))
    second = ReadOutcome(np.array([10.0, 11.0, 12.0, 13.0]), np.array([0.1, 0.6, 5.0, 9.0]))
    third = ReadOutcome(np.array([20.0, 21.0, 22.0, 23.0]), np.full(4, 1.0))
    other = ReadOutcome(np.array([30.0, 31.0, 32.0, 33.0]), np.full(4, 1.0))
    outcomes = {10: first, 30: second, 60: other, 80: third}

    def scores(*rounds: tuple[int, float]) -> list[float]:
        return after_rounds(outcomes, ReadsHad(10, rounds)).scores.tolist()

    assert scores() == [0.0, 1.0, 2.0, 3.0]
    assert scores((20, 1.0)) == [10.0, 11.0, 12.0, 3.0]
    assert scores((20, 0.5)) == [10.0, 1.0, 12.0, 3.0]
    assert scores((20, 1.0), (50, 1.0)) == [20.0, 21.0, 12.0, 3.0]
    # The second image is in the third round only.
    assert scores((20, 0.3), (50, 1.0)) == [20.0, 31.0, 12.0, 3.0]
    # A round that was left out, and one that read all.
    assert scores((20, -INF)) == [0.0, 1.0, 2.0, 3.0]
    assert scores((20, INF)) == [10.0, 11.0, 12.0, 13.0]
    assert totals(10, [20, 50]) == outcomes.keys()
