"""Tables of a run's results."""

from __future__ import annotations

import numpy as np

from producer.runs.summary import average_by_label


def test_mean_scores_have_the_shape_of_the_papers_tables() -> None:
    scores = np.array([[1.0, 0.0, 0.2], [0.5, 0.0, 0.4], [0.0, 0.0, 1.0]], dtype=np.float32)
    means = average_by_label(scores, np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(means[0], [75, 0, 30], rtol=1e-6)
    np.testing.assert_allclose(means[2], [0, 0, 100], rtol=1e-6)
    assert np.isnan(means[1]).all()  # no image of class 1
