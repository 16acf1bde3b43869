"""A folder of shades to clusters, and decisions on them to a classifier."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.exceptions import DataError
from phenolip.phenokg.figures.cluster_decisions import Decisions
from phenolip.phenokg.figures.cluster_features import ClusterConfig
from phenolip.phenokg.figures.cluster_files import read_clusters
from phenolip.phenokg.figures.cluster_images import cluster_images, train_head
from phenolip.phenokg.figures.image_features import ImageTower
from phenolip.phenokg.figures.medical_head import score_images
from phenolip.phenokg.record_files import find_images


def red_or_blue(images):
    """Five features that tell red from blue, and one of brightness: the first level splits by colour."""
    red, _, blue = np.stack([np.asarray(image, np.float32).mean(axis=(0, 1)) for image in images], axis=1)
    return np.stack([red > blue] * 5 + [np.maximum(red, blue)], axis=1).astype(np.float32)


TOWER = ImageTower("red or blue", "0123456789abcdef", red_or_blue)
CONFIG = ClusterConfig(num_first=2, num_second=2)


@pytest.fixture
def folder(tmp_path):
    """Red images, bright and dark, and blue ones, bright and dark: 10 of each."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(10):
        for name, color in {"ra": (90, 0), "rb": (250, 0), "ba": (0, 90), "bb": (0, 250)}.items():
            Image.new("RGB", (4, 4), (color[0], number, color[1])).save(images / f"{name}{number}.png")
    (images / "bad.png").write_bytes(b"no image")
    return images


def test_clusters_of_a_folder(folder, tmp_path):
    num_clusters, drops = cluster_images(find_images(folder), TOWER, tmp_path / "out", CONFIG)
    assert [(drop.key, drop.reason) for drop in drops] == [("bad.png", "unreadable_image")]
    clusters = read_clusters(tmp_path / "out" / "clusters.parquet")
    assert clusters.num_clusters == num_clusters == 4 and len(clusters.file_names) == 40
    by_kind = {}
    for name, label in zip(clusters.file_names, clusters.labels.tolist(), strict=True):
        by_kind.setdefault(name[:2], set()).add(label)
    assert sorted(by_kind.values(), key=min) == [{0}, {1}, {2}, {3}]
    table = pq.read_table(tmp_path / "out" / "clusters.parquet")
    assert set(table["first_level"].to_pylist()) == {0, 1} and max(table["distance"].to_pylist()) < 2
    assert json.loads((tmp_path / "out" / "drops.jsonl").read_text())["reason"] == "unreadable_image"
    before = clusters.clustering
    cluster_images(find_images(folder), TOWER, tmp_path / "out", CONFIG)
    assert read_clusters(tmp_path / "out" / "clusters.parquet").clustering == before


def test_a_head_from_decisions(folder, tmp_path):
    cluster_images(find_images(folder), TOWER, tmp_path / "out", CONFIG)
    clusters = read_clusters(tmp_path / "out" / "clusters.parquet")
    is_red = {label: name[0] == "r" for name, label in zip(clusters.file_names, clusters.labels.tolist(), strict=True)}
    decisions = Decisions({label: "keep" if red else "drop" for label, red in is_red.items()}, clusters.clustering)
    head, quality = train_head(clusters, decisions, tmp_path / "out" / "features")
    assert (quality.precision.value, quality.recall.value, quality.recall.n) == (1.0, 1.0, 20)
    scores = score_images(red_or_blue([Image.new("RGB", (4, 4), color) for color in ("darkred", "navy")]), head)
    assert scores[0] > 0.5 > scores[1]
    assert (
        head.provenance["trained_on"].startswith("40 images of 4 clusters") and head.fingerprint == TOWER.fingerprint
    )
    del decisions.by_cluster[0]
    with pytest.raises(DataError, match="two groups of medical and two of other"):
        train_head(clusters, decisions, tmp_path / "out" / "features")


def test_no_image_at_all(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="got none that can be read and 1 that cannot"):
        cluster_images(find_images(tmp_path), TOWER, tmp_path / "out")
