"""The step, with a tower that sees only how bright an image is."""

import json

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figures.cluster_decisions import Decisions, write_decisions
from phenolip.phenokg.figures.cluster_features import Clusters
from phenolip.phenokg.figures.cluster_files import read_clusters, write_clusters
from phenolip.phenokg.figures.image_features import ImageTower, read_image_file
from phenolip.phenokg.figures.medical_head import MedicalHead, save_head
from phenolip.phenokg.filter_figures import FilterConfig, apply_decisions, run
from phenolip.phenokg.record_files import find_images
from phenolip.phenokg.records import Drop, FilteredFigure, ImageFile

FINGERPRINT = "0123456789abcdef"


def brightness(images):
    shades = np.array([[np.asarray(image).mean()] for image in images], np.float32)
    return np.where(shades == 200, np.nan, shades)  # a tower that fails on one shade


TOWER = ImageTower("brightness", FINGERPRINT, brightness)


@pytest.fixture
def head(tmp_path):
    """Dark images are medical: probability 0.5 at 100, near 1 at 0."""
    path = tmp_path / "head.json"
    save_head(MedicalHead(tower="b", fingerprint=FINGERPRINT, weights=(-0.1,), bias=10.0, provenance={}), path)
    return str(path)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for shade in (0, 90, 150, 200, 250):
        Image.new("L", (4, 4), shade).save(folder / f"{shade:03d}.png")
    (folder / "170.png").write_bytes(b"no image")
    return folder


def clustered(images, path):
    files = [file for file in find_images(images) if file.path not in ("170.png", "200.png")]
    hashes = [read_image_file(file).sha256 for file in files]
    labels = np.array([0, 0, 1, 2])
    write_clusters(path, Clusters(labels, labels, np.zeros(4)), files, hashes, tower="b", fingerprint=FINGERPRINT)
    return read_clusters(path)


def test_every_image_gets_its_score_or_a_reason(images, head):
    for batch_size in (1, 2, 32):
        outcomes = list(run(find_images(images), FilterConfig(head=head, batch_size=batch_size), TOWER))
        scores = [round(1 / (1 + np.exp(0.1 * shade - 10)), 4) for shade in (0, 90, 150, 250)]
        assert [outcome for outcome in outcomes if isinstance(outcome, FilteredFigure)] == [
            FilteredFigure("000.png", True, scores[0]), FilteredFigure("090.png", True, scores[1]),
            FilteredFigure("150.png", False, scores[2]), FilteredFigure("250.png", False, scores[3]),
        ]  # fmt: skip
        drops = [(each.key, each.reason) for each in outcomes if isinstance(each, Drop)]
        assert drops == [("170.png", "unreadable_image"), ("200.png", "not_finite")]
    kept = [each.is_medical for each in run(find_images(images), FilterConfig(head=head, min_score=0.9), TOWER)
            if isinstance(each, FilteredFigure)]  # fmt: skip
    assert kept == [True, False, False, False]


def test_drops_are_handed_on_and_nothing_gives_nothing(head):
    drop = Drop("before", "a", "b")
    assert list(run([drop], FilterConfig(head=head), TOWER)) == [drop]
    assert list(run([], FilterConfig(head=head), TOWER)) == []


def test_decisions_on_clusters_win_over_the_classifier(images, head, tmp_path):
    clusters = clustered(images, tmp_path / "clusters.parquet")
    write_decisions(Decisions({0: "drop", 2: "keep"}, clusters.clustering), tmp_path / "decisions.yaml")
    paths = {"clusters": str(tmp_path / "clusters.parquet"), "decisions": str(tmp_path / "decisions.yaml")}
    made = [each for each in run(find_images(images), FilterConfig(head=head, **paths), TOWER)
            if isinstance(each, FilteredFigure)]  # fmt: skip
    assert [(each.is_medical, each.cluster) for each in made] == [(False, 0), (False, 0), (False, 1), (True, 2)]
    (tmp_path / "decisions.yaml").write_text("7: keep")
    with pytest.raises(DataError, match="decides on cluster 7, but there are 3"):
        list(run(find_images(images), FilterConfig(head=head, **paths), TOWER))


def test_decisions_are_applied_to_what_was_clustered(images, tmp_path):
    clusters = clustered(images, tmp_path / "clusters.parquet")
    assert list(apply_decisions(clusters, Decisions({0: "keep", 1: "drop"}))) == [
        FilteredFigure("000.png", True, cluster=0), FilteredFigure("090.png", True, cluster=0),
        FilteredFigure("150.png", False, cluster=1),
        Drop("filter_figures", "250.png", "undecided", "Nobody decided on cluster 2."),
    ]  # fmt: skip
    with pytest.raises(DataError, match="of the clustering 'ab'"):
        list(apply_decisions(clusters, Decisions({0: "keep"}, "ab")))


def test_another_clustering_has_another_identity(images, tmp_path):
    one = clustered(images, tmp_path / "one.parquet")
    assert one.clustering == clustered(images, tmp_path / "other.parquet").clustering
    Image.new("L", (4, 4), 1).save(images / "000.png")
    assert one.clustering != clustered(images, tmp_path / "other.parquet").clustering
    assert (one.num_clusters, one.tower, one.root) == (3, "b", str(images))


def test_files_that_are_no_clusters(tmp_path, images):
    import pyarrow as pa
    import pyarrow.parquet as pq

    clustered(images, tmp_path / "clusters.parquet")
    table = pq.read_table(tmp_path / "clusters.parquet")
    bad = {
        "text": None,
        "no_metadata": table.replace_schema_metadata({}),
        "columns": table.drop_columns(["sha256"]),
        "negative": table.set_column(2, "cluster", pa.array([-1, 0, 0, 0])),
        "sparse": table.set_column(2, "cluster", pa.array([0, 0, 0, 2**40])),
        "empty": table.slice(0, 0),
        "null": table.set_column(0, "file_name", pa.array(["a", "b", None, "d"])),
    }
    for name, made in bad.items():
        path = tmp_path / f"{name}.parquet"
        path.write_text("x") if made is None else pq.write_table(made, path)
        with pytest.raises(DataError, match="cannot be read|must be a file that|must number its clusters"):
            read_clusters(path)


def test_a_tower_is_needed_and_must_be_that_of_the_head(images, head):
    with pytest.raises(ConfigurationError, match="needs a `tower`"):
        list(run(find_images(images), FilterConfig(head=head)))
    other = ImageTower("other", "fedcba9876543210", brightness)
    with pytest.raises(ConfigurationError, match="trained on features of b .* got those of other"):
        list(run(find_images(images), FilterConfig(head=head), other))


def test_a_path_from_a_file_stays_in_its_folder(images, head, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    (outcome,) = run([ImageFile(str(images), "../secret.png")], FilterConfig(head=head), TOWER)
    assert outcome.reason == "outside_folder"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_score": 1.5}, "`min_score` must be from 0 to 1, got 1.5"),
        ({"min_score": float("nan")}, "`min_score` must be from 0 to 1, got nan"),
        ({"batch_size": 0}, "`batch_size` must be 1 or more, got 0"),
        ({"decisions": "a.yaml"}, "`decisions` needs the `clusters`"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        FilterConfig(**settings)


def test_record_as_json():
    from phenolip.phenokg.record_files import to_line

    row = json.loads(to_line(FilteredFigure("a.png", True, 0.75)))
    assert row == {"file_name": "a.png", "is_medical": True, "score": 0.75, "cluster": None}
