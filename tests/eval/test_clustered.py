"""Clustered intervals, sign flips, Holm, collapse, hierarchical scores and the average, each against plain loops."""

from itertools import product

import numpy as np
import pytest

from phenolip.eval.metrics.average import SEVEN_COLUMNS, phenobench_average
from phenolip.eval.metrics.bootstrap import mean_intervals, resample_counts
from phenolip.eval.metrics.clustered import (
    clustered_mean_intervals,
    joined_clusters,
    macro_interval,
    median_interval,
    ratio_intervals,
)
from phenolip.eval.metrics.collapse import effective_rank, mean_pairwise_cosine
from phenolip.eval.metrics.hierarchical import hierarchical_overlap, precision_recall_f
from phenolip.eval.metrics.multiplicity import holm, sign_flip_p_value


def drawn_rows(clusters, num_resamples=200, seed=0):
    """The rows of each resample, one list each, as the fast paths draw them."""
    codes = np.unique(clusters, return_inverse=True)[1]
    for block in resample_counts(codes.max() + 1, num_resamples=num_resamples, seed=seed):
        for counts in block:
            yield np.concatenate([np.tile(np.flatnonzero(codes == c), int(n)) for c, n in enumerate(counts) if n])


def interval(values):
    return np.quantile(values, (0.025, 0.975))


@pytest.mark.parametrize("seed", range(3))
def test_intervals_equal_a_loop_over_drawn_clusters(seed):
    rng = np.random.default_rng(seed)
    clusters, values = rng.integers(0, 12, 40), rng.integers(0, 9, 40).astype(float)
    weights, classes = rng.integers(0, 3, 40).astype(float), rng.integers(0, 4, 40)
    rows = list(drawn_rows(clusters))
    options = {"num_resamples": 200}
    np.testing.assert_allclose(
        clustered_mean_intervals(values[:, None], clusters, **options)[0], interval([values[r].mean() for r in rows])
    )
    ratios = [(values[r] * weights[r]).sum() / weights[r].sum() for r in rows]
    found = ratio_intervals((values * weights)[:, None], weights[:, None], clusters, **options)
    np.testing.assert_allclose(found[0], interval(ratios))
    np.testing.assert_allclose(
        median_interval(values, clusters, **options), interval([np.median(values[r]) for r in rows])
    )
    macro = [np.mean([values[r][classes[r] == c].mean() for c in np.unique(classes[r])]) for r in rows]
    np.testing.assert_allclose(macro_interval(values, classes, clusters, **options), interval(macro))


def test_single_clusters_give_the_plain_bootstrap():
    values = np.random.default_rng(0).random((30, 2))
    np.testing.assert_allclose(clustered_mean_intervals(values, np.arange(30)), mean_intervals(values))


def test_repeats_in_a_cluster_add_no_certainty():
    values = np.random.default_rng(0).random((30, 1))
    repeated, clusters = np.repeat(values, 10, axis=0), np.repeat(np.arange(30), 10)
    np.testing.assert_allclose(clustered_mean_intervals(repeated, clusters), mean_intervals(values))
    assert np.diff(mean_intervals(repeated)) < np.diff(mean_intervals(values)) / 2


def test_one_row_has_an_interval_of_no_width():
    assert clustered_mean_intervals(np.array([[0.5]]), np.array([7])).tolist() == [[0.5, 0.5]]
    assert median_interval(np.array([3.0]), np.array([0])) == (3.0, 3.0)


def test_clusters_join_what_shares_any_key():
    assert joined_clusters(["a", "b", "a", "", ""], [1, 2, 3, 3, 9]).tolist() == [0, 1, 0, 0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_sign_flips_come_near_all_of_them(seed):
    differences = np.random.default_rng(seed).normal(0.4, 1, 10)
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=10)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p_value(differences) == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000) + 1e-3)


def test_sign_flips_of_nothing_and_of_a_clear_case():
    assert sign_flip_p_value(np.array([])) == 1.0
    assert sign_flip_p_value(np.ones(50)) == pytest.approx(1 / 10_001)


def test_holm_is_the_step_down_procedure():
    values = np.random.default_rng(0).random(20) ** 4
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.2, 0.7):
        rejected = set()
        for place, row in enumerate(np.argsort(values)):
            if values[row] > level / (len(values) - place):
                break
            rejected.add(row)
        assert {row for row, value in enumerate(adjusted) if value <= level} == rejected
    assert holm([]) == [] and holm([0.03]) == [0.03]


def test_collapse_equals_plain_definitions(monkeypatch):
    monkeypatch.setattr("phenolip.eval.metrics.collapse._ROWS", 7)
    rows = np.random.default_rng(0).normal(size=(30, 6)) + 1
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(30, 1)]
    assert mean_pairwise_cosine(rows) == pytest.approx(cosines.mean(), abs=1e-12)
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=1e-9)
    same = np.ones((30, 6))
    assert mean_pairwise_cosine(same) == pytest.approx(1) and effective_rank(same) == 0
    assert np.isnan(mean_pairwise_cosine(rows[:1])) and effective_rank(rows[:1]) == 0


def test_hierarchical_scores_by_sets():
    sets, truth = [{0, 1}, set(), {2, 3, 4}, {1}], {1, 2, 4}
    offsets = np.cumsum([0, *map(len, sets)])
    members = np.array([member for one in sets for member in sorted(one)])
    shared = hierarchical_overlap(offsets, members, np.isin(np.arange(5), list(truth)))
    assert shared.tolist() == [len(one & truth) for one in sets]
    precision, recall, f_score = precision_recall_f(shared, np.diff(offsets), np.array(3))
    assert precision.tolist() == pytest.approx([1 / 2, 0, 2 / 3, 1])
    assert recall.tolist() == pytest.approx([1 / 3, 0, 2 / 3, 1 / 3])
    assert f_score.tolist() == pytest.approx([0.4, 0, 2 / 3, 0.5])


PUBLISHED = {  # percent: six domains, PhenoBench, and the Average of the paper's table
    "OpenCLIP": (14.77, 33.33, 29.75, 23.00, 4.52, 19.43, 2.26, 18.15),
    "SigLIP2": (11.31, 20.00, 4.95, 8.30, 9.00, 23.00, 0.25, 10.97),
    "CoCa": (12.63, 33.00, 25.87, 6.55, 3.39, 20.55, 1.38, 14.77),
    "PMC-CLIP": (41.35, 45.12, 29.10, 21.50, 5.68, 43.75, 7.50, 27.71),
    "BiomedCLIP": (47.59, 42.87, 28.47, 20.40, 4.23, 40.18, 8.15, 27.41),
    "BIOMEDICA": (56.76, 57.40, 37.72, 9.35, 5.40, 26.15, 6.69, 28.50),
    "PhenoLIP": (55.08, 58.33, 49.03, 23.24, 7.87, 51.63, 10.76, 36.56),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_average_closes_every_published_row(model):
    *columns, average = PUBLISHED[model]
    assert phenobench_average(dict(zip(SEVEN_COLUMNS, columns, strict=True))) == pytest.approx(average, abs=0.0051)


def test_an_average_of_fewer_columns_is_refused():
    with pytest.raises(ValueError, match="histology missing"):
        phenobench_average({name: 0.5 for name in SEVEN_COLUMNS if name != "histology"})
