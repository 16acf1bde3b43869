"""Two-level k-means on points whose clusters are known."""

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figures.cluster_features import ClusterConfig, cluster_features


def nested(sizes=(20, 30, 40, 50), spread=0.01):
    """Four tight groups: two pairs, which five features tell apart, each of two halves, which one feature does."""
    truth = np.repeat(np.arange(4), sizes)
    corners = np.stack([truth // 2] * 5 + [truth % 2], axis=1)
    return corners + np.random.default_rng(0).normal(0, spread, corners.shape), truth


def test_two_levels_find_pairs_and_then_their_halves():
    points, truth = nested()
    clusters = cluster_features(points, ClusterConfig(num_first=2, num_second=2))
    for labels, wanted in ((clusters.first, truth // 2), (clusters.labels, truth)):
        found = {tuple(np.flatnonzero(labels == number)) for number in range(labels.max() + 1)}
        assert found == {tuple(np.flatnonzero(wanted == group)) for group in range(wanted.max() + 1)}
    for first in range(2):  # numbers of one first-level cluster are in a row
        assert set(clusters.labels[clusters.first == first]) == {2 * first, 2 * first + 1}


def test_distance_is_that_to_the_mean_of_the_cluster_in_standard_deviations():
    points, _ = nested(spread=0.3)
    clusters = cluster_features(points, ClusterConfig(num_first=2, num_second=3))
    rows = (points - points.mean(axis=0)) / points.std(axis=0)
    for number in range(clusters.num_clusters):
        inside = clusters.labels == number
        wanted = np.linalg.norm(rows[inside] - rows[inside].mean(axis=0), axis=1)
        np.testing.assert_allclose(clusters.distances[inside], wanted, atol=2e-3)


@pytest.mark.parametrize(("n", "num_first"), [(1, 1), (9, 1), (19, 1), (20, 2), (59, 5), (210, 20)])
def test_clusters_are_a_tenth_of_the_images_at_most(n, num_first):
    points = np.random.default_rng(1).normal(size=(n, 3))
    clusters = cluster_features(points)
    assert len(np.unique(clusters.first)) == num_first
    for first in range(num_first):
        size = (clusters.first == first).sum()
        assert len(np.unique(clusters.labels[clusters.first == first])) == max(1, min(20, size // 10))
    assert sorted(np.unique(clusters.labels)) == list(range(clusters.num_clusters))


def test_rows_that_are_not_finite_take_no_part():
    points, _ = nested()
    broken = points.copy()
    broken[3, 1], broken[77, 5] = np.nan, np.inf
    clusters = cluster_features(broken)
    assert clusters.labels[[3, 77]].tolist() == [-1, -1] and np.isnan(clusters.distances[[3, 77]]).all()
    rest = np.delete(np.arange(len(points)), [3, 77])
    np.testing.assert_array_equal(clusters.labels[rest], cluster_features(points[rest]).labels)
    with pytest.raises(DataError, match="finite features, got none among 2"):
        cluster_features(np.full((2, 2), np.nan))


def test_images_that_are_all_alike_are_one_cluster():
    clusters = cluster_features(np.ones((100, 4)))
    assert clusters.num_clusters == 1 and (clusters.labels == 0).all()


def test_the_same_seed_gives_the_same_clusters_and_large_levels_go_in_mini_batches(monkeypatch):
    points = np.random.default_rng(2).normal(size=(400, 4))
    plain = cluster_features(points, ClusterConfig(num_second=2))
    np.testing.assert_array_equal(plain.labels, cluster_features(points, ClusterConfig(num_second=2)).labels)
    monkeypatch.setattr("phenolip.phenokg.figures.cluster_features._MINI_BATCH_ABOVE", (100, 10))
    batched = cluster_features(points, ClusterConfig(num_second=2))
    assert batched.num_clusters > 20 and not np.array_equal(batched.labels, plain.labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_first": 0}, "`num_first` must be from 1 to 10,000, got 0"),
        ({"num_second": 20_000}, "`num_second` must be from 1 to 10,000, got 20000"),
        ({"seed": -1}, "`seed` must be from 0 to 4294967295, got -1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ClusterConfig(**settings)
