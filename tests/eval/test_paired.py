"""Paired bootstrap against SciPy, explicit loops and cases whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from phenolip.eval.metrics.paired import bootstrap_grand_mean, paired_difference


def test_interval_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.4, rng.random(300) < 0.5
    found = paired_difference(a, b)
    expected = stats.bootstrap((b * 1.0 - a,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    assert found.difference == pytest.approx(b.mean() - a.mean()) and found.n == 300
    assert found.ci95 == pytest.approx(expected.confidence_interval, abs=0.006)
    assert found == paired_difference(a, b)
    assert found.ci95 != paired_difference(a, b, seed=1).ci95


def test_pairing_makes_what_is_hard_for_both_cancel():
    hard = np.random.default_rng(1).random(400)
    assert paired_difference(hard, hard + 0.25).ci95 == pytest.approx((0.25, 0.25))


def test_seeds_are_averaged_query_by_query():
    rng = np.random.default_rng(2)
    a, b = rng.random((3, 50)), rng.random((2, 50))
    assert paired_difference(a, b) == paired_difference(a.mean(axis=0), b.mean(axis=0))


@pytest.mark.parametrize(
    ("a", "b", "match"),
    [
        ([1.0], [1.0, 0.0], "same queries, got 1 and 2"),
        ([], [], "`values_a` must be .* not empty"),
        ([1.0], [float("nan")], "`values_b` must be finite"),
        (1.0, [1.0], r"got shape \(\)"),
        (np.ones((1, 1, 1)), [1.0], r"got shape \(1, 1, 1\)"),
    ],
)
def test_wrong_values_are_named(a, b, match):
    with pytest.raises(ValueError, match=match):
        paired_difference(a, b)


def test_rows_of_a_group_are_drawn_together_and_groups_apart():
    values = np.random.default_rng(3).normal(size=(200, 1))
    together = bootstrap_grand_mean([np.hstack([values, -values])])  # what one column gains the other loses
    assert together[1] == pytest.approx((0, 0), abs=1e-12)
    lower, upper = bootstrap_grand_mean([values, -values])[1]
    half = 1.96 * values.std() / np.sqrt(200) / np.sqrt(2)
    assert (lower, upper) == pytest.approx((-half, half), abs=0.012)


def test_metrics_of_some_rows_equal_an_explicit_loop():
    rng = np.random.default_rng(4)
    pairs = rng.normal(size=(40, 3))
    pairs[rng.random(40) < 0.5, 2] = np.nan  # the third metric asks about half of the rows
    phenotypes = rng.normal(size=(25, 1))
    value, ci95 = bootstrap_grand_mean([pairs, phenotypes], num_resamples=4000)
    means = []
    for _ in range(4000):
        drawn, other = pairs[rng.integers(40, size=40)], phenotypes[rng.integers(25, size=25)]
        columns = [np.mean([x for x in drawn[:, m] if not np.isnan(x)]) for m in range(3)] + [other.mean()]
        means.append(np.mean(columns))
    assert value == pytest.approx(np.mean([*np.nanmean(pairs, axis=0), phenotypes.mean()]))
    assert ci95 == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)


def test_a_metric_of_one_row_of_many_still_has_an_interval():
    values = np.full((100, 2), np.nan)
    values[:, 0], values[7, 1] = 0.5, 0.25
    assert bootstrap_grand_mean([values]) == (0.375, (0.375, 0.375))


def test_memory_is_bounded():
    import tracemalloc

    tracemalloc.start()
    bootstrap_grand_mean([np.random.default_rng(0).random((20_000, 2))], num_resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20  # all counts at once would be 3 * 48 MB of each kind; one block is 2**22 numbers
