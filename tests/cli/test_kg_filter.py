"""The commands of the medical filter, end to end, with a tower that sees only colours."""

import json

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.phenokg.figures.cluster_files import read_clusters
from phenolip.phenokg.figures.image_features import ImageTower


def colors(images):
    means = np.stack([np.asarray(image, np.float32).mean(axis=(0, 1)) for image in images])
    return np.stack([means[:, 0] > means[:, 2]] * 3 + [means[:, 1]], axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def tower(monkeypatch):
    def load(name, **settings):
        return ImageTower(name, "0123456789abcdef", colors)

    monkeypatch.setattr("phenolip.inference.image_tower.load_image_tower", load)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        color = (200 * (number % 2), 6 * number, 200 * (1 - number % 2))
        Image.new("RGB", (8, 8), color).save(folder / f"{'red' if number % 2 else 'blue'}{number:02d}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cluster_review_apply_train_and_the_step(images, tmp_path, capsys):
    out = tmp_path / "out"
    clusters, head, made = str(out / "clusters.parquet"), str(out / "head.json"), out / "figures.jsonl"
    assert main(["kg", "filter", "cluster", "--images", str(images), "--output", str(out), "--num-first", "2"]) == 0
    assert "41 images, 4 clusters, 1 unreadable_image" in capsys.readouterr().err
    assert main(["kg", "filter", "review", "--clusters", clusters, "--output", str(out / "review.html")]) == 0
    assert "4 clusters: open" in capsys.readouterr().err
    clustered = read_clusters(clusters)
    kinds = dict(zip(clustered.labels.tolist(), clustered.file_names, strict=True))
    lines = [f"{label}: {'keep' if name.startswith('red') else 'drop'}" for label, name in kinds.items()]
    (out / "decisions.yaml").write_text("\n".join([f"clustering: '{clustered.clustering}'", *lines]))
    decided = ["--clusters", clusters, "--decisions", str(out / "decisions.yaml")]
    assert main(["kg", "filter", "apply", *decided, "--output", str(made)]) == 0
    assert "20 images kept, 20 not medical" in capsys.readouterr().err
    assert all(row["is_medical"] == row["file_name"].startswith("red") for row in rows(made)) and len(rows(made)) == 40
    assert main(["kg", "filter", "train", *decided, "--output", head]) == 0
    assert "recall       1.000 (0.839 to 1.000, n = 20)" in capsys.readouterr().out
    assert main(["kg", "run", "filter_figures", "--input", str(images), "--output", str(made), "--head", head]) == 0
    assert all(row["is_medical"] == row["file_name"].startswith("red") for row in rows(made)) and len(rows(made)) == 40
    assert [row["reason"] for row in rows(out / "figures.drops.jsonl")] == ["unreadable_image"]


def test_wrong_calls_end_with_one_sentence(images, tmp_path, capsys):
    assert main(["kg", "filter", "cluster", "--images", str(tmp_path / "none"), "--output", str(tmp_path)]) == 1
    assert "`--images` must be a folder" in capsys.readouterr().err
    assert main(["kg", "filter", "review", "--clusters", str(images / "broken.png"), "--output", "x.html"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert (
        main(["kg", "filter", "cluster", "--images", str(images), "--output", str(tmp_path), "--num_first", "0"]) == 2
    )
    assert "`num_first` must be from 1 to 10,000, got 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["kg", "filter", "--help"])
    assert ended.value.code == 0 and "phenolip kg filter review" in capsys.readouterr().out
