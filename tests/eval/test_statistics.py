"""Bootstrap, Spearman and AUROC against SciPy, scikit-learn and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from phenolip.eval.metrics.association import auroc, mid_ranks, spearman
from phenolip.eval.metrics.bootstrap import mean_intervals, resample_counts


def test_every_resample_has_the_size_of_the_data():
    blocks = list(resample_counts(700_000, num_resamples=13))
    assert len(blocks) == 3  # 4,194,304 counts at a time: five rows of 700,000 and the rest
    assert all((block.sum(axis=1) == 700_000).all() for block in blocks)


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = np.random.default_rng(0).random((2000, 2)) < [0.3, 0.7]
    intervals = mean_intervals(values)
    half = 1.96 * values.std(axis=0) / np.sqrt(2000)
    np.testing.assert_allclose(intervals[:, 0], values.mean(axis=0) - half, atol=3e-3)
    np.testing.assert_allclose(intervals[:, 1], values.mean(axis=0) + half, atol=3e-3)
    np.testing.assert_array_equal(intervals, mean_intervals(values))


def test_mid_ranks_of_copies_equal_ranks_of_the_repeated_list():
    rng = np.random.default_rng(2)
    codes, counts = np.unique(rng.integers(0, 6, 20), return_inverse=True)[1], rng.integers(1, 4, 20)
    expected = stats.rankdata(np.repeat(codes, counts))
    np.testing.assert_allclose(np.repeat(mid_ranks(codes, counts), counts), expected)


def test_spearman_equals_scipy_and_its_interval_holds_it():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 12, 400)
    y = x + rng.normal(scale=6, size=400).round()
    value, (lower, upper) = spearman(x, y)
    assert value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    resampled = stats.bootstrap((x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False,
                                n_resamples=500, method="percentile", rng=0)  # fmt: skip
    assert (lower, upper) == pytest.approx(resampled.confidence_interval, abs=0.02)


def test_spearman_of_a_constant_is_nan():
    assert np.isnan(spearman(np.ones(5), np.arange(5))[0])


def test_auroc_equals_scikit_learn():
    rng = np.random.default_rng(5)
    positives, negatives = rng.integers(2, 9, 60), rng.integers(0, 7, 90)
    value, (lower, upper) = auroc(positives, negatives)
    labels = np.r_[np.ones(60), np.zeros(90)]
    assert value == pytest.approx(roc_auc_score(labels, np.r_[positives, negatives]), abs=1e-12)
    assert lower < value < upper
