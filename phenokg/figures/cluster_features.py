"""Two-level k-means over image features: 20 clusters, each split into 20, as the paper groups figures for review."""

import warnings
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError

_IMAGES_PER_CLUSTER = 10  # below that many a cluster is not split further
_MINI_BATCH_ABOVE = (50_000, 1_000)  # images, on the first and on the second level
_BATCH_SIZE = (1_000, 100)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Settings of the clustering; the defaults are the paper's.

    Attributes:
        num_first: Clusters of the first level at most, 1 or more; a tenth of the images if that is fewer.
        num_second: Clusters that each of them is split into at most, 1 or more; a tenth of its images if fewer.
        seed: Draws the first centres.
    """

    num_first: int = 20
    num_second: int = 20
    seed: int = 42

    def __post_init__(self) -> None:
        for field in fields(self)[:2]:
            if not 1 <= getattr(self, field.name) <= 10_000:
                raise ConfigurationError(f"`{field.name}` must be from 1 to 10,000, got {getattr(self, field.name)}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigurationError(f"`seed` must be from 0 to {2**32 - 1}, got {self.seed}.")


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which cluster each image is in.

    Attributes:
        labels: (N,) cluster numbers from 0, those of one first-level cluster in a row; -1 without finite features.
        first: (N,) first-level cluster numbers from 0; -1 likewise.
        distances: (N,) to the centre of the cluster, in standard deviations of the features; not a number likewise.
    """

    labels: NDArray[np.int64]
    first: NDArray[np.int64]
    distances: NDArray[np.float64]

    @property
    def num_clusters(self) -> int:
        """How many there are."""
        return int(self.labels.max(initial=-1)) + 1


def cluster_features(features: NDArray[np.floating], config: ClusterConfig | None = None) -> Clusters:
    """Standardise, cluster, and cluster each cluster again.

    k-means with k-means++ centres; in mini-batches above 50,000 images, and on the second level above 1,000.

    Args:
        features: (N, D); rows that are not finite take no part.
        config: By default the paper's.

    Raises:
        DataError: No row is finite.

    Source: the clustering of PhenoLIP's published data code. Deviation: k is `min(20, n // 10)` on both levels, where
    the code would fail on fewer images than clusters.
    """
    from sklearn.preprocessing import StandardScaler

    config = config or ClusterConfig()
    finite = np.flatnonzero(np.isfinite(features).all(axis=1))
    if len(finite) == 0:
        raise DataError(f"Clustering needs images with finite features, got none among {len(features):,}.")
    rows = StandardScaler(copy=False).fit_transform(features[finite].astype(np.float32))
    first = _k_means(rows, config.num_first, 0, config.seed)[0]
    labels, distances, num_found = np.empty_like(first), np.empty(len(rows)), 0
    for number in range(first.max() + 1):
        members = np.flatnonzero(first == number)
        second, away = _k_means(rows[members], config.num_second, 1, config.seed)
        labels[members], distances[members] = num_found + second, away
        num_found += int(second.max()) + 1
    placed = Clusters(np.full(len(features), -1), np.full(len(features), -1), np.full(len(features), np.nan))
    placed.labels[finite], placed.first[finite], placed.distances[finite] = labels, first, distances
    return placed


def _k_means(
    rows: NDArray[np.float32], num_clusters: int, level: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Clusters from 0, without gaps, and the distance of each row to the centre of its own."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    num_clusters = max(1, min(num_clusters, len(rows) // _IMAGES_PER_CLUSTER))
    if num_clusters == 1:
        return np.zeros(len(rows), np.int64), np.linalg.norm(rows - rows.mean(axis=0), axis=1).astype(np.float64)
    if len(rows) > _MINI_BATCH_ABOVE[level]:
        model = MiniBatchKMeans(num_clusters, batch_size=_BATCH_SIZE[level], random_state=seed)
    else:
        model = KMeans(num_clusters, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters: some stay empty
        found = model.fit_predict(rows)
    distances = np.linalg.norm(rows - model.cluster_centers_[found], axis=1)
    return np.unique(found, return_inverse=True)[1].astype(np.int64), distances.astype(np.float64)
