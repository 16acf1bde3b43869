"""A folder of images to clusters, and decisions on clusters to a classifier: what `phenolip kg filter` does."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from phenolip.exceptions import DataError
from phenolip.phenokg.figures.cluster_decisions import Decisions
from phenolip.phenokg.figures.cluster_features import ClusterConfig, cluster_features
from phenolip.phenokg.figures.cluster_files import ClusteredImages, write_clusters
from phenolip.phenokg.figures.filter_quality import FilterQuality, filter_quality
from phenolip.phenokg.figures.image_features import STEP, FeatureStore, ImageTower
from phenolip.phenokg.figures.medical_head import MedicalHead, cross_validated_scores, fit_head
from phenolip.phenokg.record_files import to_line
from phenolip.phenokg.records import Drop, ImageFile
from phenolip.whole_files import whole_file

CLUSTERS, DROPS, FEATURES = "clusters.parquet", "drops.jsonl", "features"
_THRESHOLD = 0.5


def cluster_images(
    files: Iterable[ImageFile],
    tower: ImageTower,
    output: str | Path,
    config: ClusterConfig | None = None,
    *,
    batch_size: int = 32,
) -> tuple[int, list[Drop]]:
    """Writes `features/`, `clusters.parquet` and `drops.jsonl`; returns the number of clusters and what was left out.

    A run that was stopped goes on with the images whose features are not there yet.

    Args:
        files: Images of one folder.
        tower: Gives their features.
        output: Folder for the three.
        config: By default the paper's.
        batch_size: Images encoded together.

    Raises:
        DataError: No image can be used.
    """
    output = Path(output)
    store = FeatureStore(output / FEATURES, tower.fingerprint)
    placed: list[ImageFile] = []
    hashes: list[str] = []
    drops: list[Drop] = []
    for outcome in store.add(files, tower, batch_size=batch_size):
        if isinstance(outcome, Drop):
            drops.append(outcome)
        else:
            placed.append(outcome[0])
            hashes.append(outcome[1])
    if not placed:
        raise DataError(f"Clustering needs images, got none that can be read and {len(drops):,} that cannot.")
    clusters = cluster_features(store.load(hashes), config)
    drops += [
        Drop(STEP, placed[row].path, "not_finite", "The tower gives features that are not finite.")
        for row in np.flatnonzero(clusters.labels < 0)
    ]
    about = {"tower": tower.name, "fingerprint": tower.fingerprint}
    write_clusters(output / CLUSTERS, clusters, placed, hashes, **about)
    with whole_file(output / DROPS, "w") as file:
        file.writelines(to_line(drop) for drop in drops)
    return clusters.num_clusters, drops


def train_head(
    clustered: ClusteredImages, decisions: Decisions, features: str | Path, *, seed: int = 0
) -> tuple[MedicalHead, FilterQuality]:
    """A classifier from decisions on clusters, and how well it does on clusters that it did not see.

    Its quality is that of five heads, each trained without a fifth of the clusters and asked about these; the one that
    is returned is trained on all. The truth is the decisions: where a cluster is mixed, so is the truth.

    Args:
        clustered: Images and clusters.
        decisions: On two kept and two dropped clusters at least; images of others are not used.
        features: Folder of the features.
        seed: Draws which clusters are held out together.
    """
    decisions.check(clustered.num_clusters, clustered.clustering)
    decided = np.flatnonzero(np.isin(clustered.labels, list(decisions.by_cluster)))
    labels = clustered.labels[decided]
    is_medical = np.array([decisions.by_cluster[label] == "keep" for label in labels.tolist()], bool)
    rows = FeatureStore(features, clustered.fingerprint).load([clustered.hashes[row] for row in decided])
    scores = cross_validated_scores(rows, is_medical, labels, seed=seed)
    quality = filter_quality(is_medical, scores >= _THRESHOLD)
    provenance = {
        "trained_on": f"{len(decided):,} images of {len(np.unique(labels)):,} clusters that a person decided on",
        "num_medical": int(is_medical.sum()),
        "clustering": clustered.clustering,
        "date": date.today().isoformat(),
        "threshold": _THRESHOLD,
        "measured": asdict(quality),
        "measured_how": "each image by a head that saw no image of its cluster",
    }
    head = fit_head(rows, is_medical, tower=clustered.tower, fingerprint=clustered.fingerprint)
    return msgspec.structs.replace(head, provenance=provenance), quality
