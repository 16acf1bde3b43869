"""Faces that are drawn in code: the loader, the metrics against a brute force, and the task end to end."""

import itertools

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, precision_score, recall_score

from phenolip.datasets_scripts.face_set import load_faces
from phenolip.eval.metrics.ranking import expected_hit_and_recall
from phenolip.eval.metrics.sample_f1 import best_sample_threshold, sample_scores_at_k, sample_scores_at_threshold
from phenolip.eval.run import evaluate
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology import load_ontology

IDS = ("HP:0000494", "HP:0000316", "HP:0000369", "HP:0001166")


@pytest.fixture(scope="module")
def hpo():
    return load_ontology()


class NameEncoder:
    """Images are told by their brightness, texts by the first letters of a phenotype's name."""

    name, has_images = "names", True

    def encode_images(self, images):
        rows = np.random.default_rng(0).normal(size=(256, 8))
        found = np.stack([rows[np.asarray(Image.open(image)).flat[0]] for image in images])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts):
        found = np.stack([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def write_faces(folder, rows, header="image,hpo_ids,patient_id,split"):
    lines = [header]
    for number, row in enumerate(rows):
        Image.new("L", (4, 4), number).save(folder / f"f{number}.png")
        lines.append(f"f{number}.png,{row}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_scores_at_k_over_every_order_of_ties():
    rng = np.random.default_rng(0)
    for k in (1, 2, 3, 5, 9):
        scores, relevant = rng.integers(0, 3, (4, 5)).astype(float), rng.random((4, 5)) < 0.5
        relevant[:, 0] = True
        expected = np.zeros((4, 3))
        for row in range(4):
            orders = [
                order for order in itertools.permutations(range(5)) if (np.diff(scores[row, list(order)]) <= 0).all()
            ]
            for order in orders:
                answered = np.isin(np.arange(5), order[:k])
                for at, metric in enumerate((precision_score, recall_score, f1_score)):
                    expected[row, at] += metric(relevant[row], answered) / len(orders)
        recalls = expected_hit_and_recall(scores, relevant, [k])[1][:, 0]
        assert np.allclose(sample_scores_at_k(recalls, relevant.sum(axis=1), k, 5), expected, atol=1e-12)


def test_scores_at_a_threshold_equal_scikit_learn():
    rng = np.random.default_rng(1)
    scores, relevant = rng.random((30, 12)), rng.random((30, 12)) < 0.2
    relevant[np.arange(30), rng.integers(12, size=30)] = True
    for threshold in (0.0, 0.4, 0.9, 2.0):
        found = sample_scores_at_threshold(scores, relevant, threshold).mean(axis=0)
        options = {"average": "samples", "zero_division": 0}
        expected = [
            metric(relevant, scores >= threshold, **options) for metric in (precision_score, recall_score, f1_score)
        ]
        assert found.tolist() == pytest.approx(expected, abs=1e-12)
    best = best_sample_threshold(scores, relevant)
    means = [sample_scores_at_threshold(scores, relevant, value)[:, 2].mean() for value in np.unique(scores)]
    assert sample_scores_at_threshold(scores, relevant, best)[:, 2].mean() == pytest.approx(max(means), abs=0.02)
    assert best_sample_threshold(np.eye(2), np.eye(2, dtype=bool), [0.2, 0.5]) == 0.5  # the highest of equal ones


def test_faces_of_a_table(tmp_path, hpo):
    rows = [
        f"{IDS[0]};{IDS[1]},p1,test",
        f"{IDS[2]} {IDS[2]},p1,test",
        ",p2,test",
        "HP:9999999,p2,test",
        f"{IDS[0]},p3,val",
    ]
    write_faces(tmp_path, rows)
    with (tmp_path / "faces.csv").open("a") as file:
        file.write(f"../out.png,{IDS[0]},p4,test\nf0.png,{IDS[0]},p4,test\n")
    faces = load_faces(tmp_path, hpo, split="test")
    assert faces.ids == ("f0.png", "f1.png") and faces.groups == ("p1", "p1")
    assert faces.labels == (tuple(sorted(IDS[:2])), (IDS[2],))
    assert faces.dropped == {
        **{"no known phenotype": 2, "id not in the ontology": 1, "image not found": 1, "image named twice": 1},
    }
    assert len(load_faces(tmp_path / "faces.csv", hpo)) == 3
    (tmp_path / "faces.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "f0.png", "hpo_ids": ["HP:0000494"]}\n')
    assert load_faces(tmp_path, hpo).groups == ("f0.png",)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "f0.png"}\n')
    with pytest.raises(DataError, match="must have the column hpo_ids, got file_name"):
        load_faces(tmp_path, hpo)
    (tmp_path / "metadata.jsonl").write_text("\n")
    with pytest.raises(DataError, match="has no rows"):
        load_faces(tmp_path, hpo)
    (tmp_path / "metadata.jsonl").unlink()
    with pytest.raises(DataError, match="must be a table or a folder with one of"):
        load_faces(tmp_path, hpo)
    write_faces(tmp_path, [",p1,test"])
    with pytest.raises(DataError, match="no row can be used"):
        load_faces(tmp_path, hpo)


def test_the_task_end_to_end(tmp_path, hpo):
    rows = [
        f"{IDS[number % 4]};{IDS[(number + 1) % 4]},p{number // 2},{'val' if number > 7 else 'test'}"
        for number in range(12)
    ]
    results = evaluate(NameEncoder(), "faces", write_faces(tmp_path, rows), tmp_path / "out").results
    metrics = results["metrics"]
    assert results["n"] == 8 and results["num_groups"] == 4 and results["num_candidates"] == 4
    assert metrics["faces_hit_at_5"]["value"] == metrics["faces_hit_at_50"]["value"] == 1  # of four candidates
    assert metrics["faces_sample_precision_at_10"]["value"] == 0.5 == results["chance"]["faces_sample_precision_at_10"]
    assert metrics["faces_sample_f1_at_10"]["value"] == pytest.approx(2 * 0.5 / 1.5)
    assert {"oracle", "val_fitted"} == set(results["thresholds"])
    assert metrics["faces_sample_f1_oracle"]["value"] >= metrics["faces_sample_f1_val_fitted"]["value"] - 1e-9
    assert "a face names a person" in (tmp_path / "out" / "report.md").read_text()
    (tmp_path / "few.txt").write_text(IDS[0] + "\n")
    few = evaluate(NameEncoder(), "faces", tmp_path, tmp_path / "few", candidates=tmp_path / "few.txt", split="test")
    assert few.results["n"] == few.results["metrics"]["faces_hit_at_5"]["n"] == 4
    assert few.results["dropped"]["no label among the candidates"] == 4
    (tmp_path / "few.txt").write_text("HP:0000118\n")
    with pytest.raises(DataError, match="No image shows one of the candidates"):
        evaluate(NameEncoder(), "faces", tmp_path, tmp_path / "few", candidates=tmp_path / "few.txt")


def test_wrong_cutoffs_are_named(tmp_path):
    import yaml

    from phenolip.eval.tasks.registry import TASKS_DIR

    settings = yaml.safe_load((TASKS_DIR / "faces.yaml").read_text())
    settings["evaluators"]["faces"]["ks"] = [0]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigurationError, match="`ks` and `decision_k` must be whole numbers"):
        evaluate(NameEncoder(), tmp_path / "mine.yaml", tmp_path, tmp_path / "out")
