"""Checks catch what they are there for: a leak, a collapse, numbers that cannot be; metadata columns."""

import json

import numpy as np
import pytest

from phenolip.eval.checks import RandomEncoder, arithmetic, collapse, majority_class, run_checks, shuffled_pairs
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator
from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator
from phenolip.eval.metadata import metadata_columns
from phenolip.eval.per_query import Queries, pair_queries

NAMES = [f"Sign {number}" for number in range(20)]


@pytest.fixture
def pairs(helpers):
    rng = np.random.default_rng(0)
    labels = [["Sign 0"] if n % 3 else list(rng.choice(NAMES[1:], 2, replace=False)) for n in range(90)]
    return helpers.make_pairs([f"image {n}" for n in range(90)], [f"caption {n}" for n in range(90)], labels, NAMES)


def test_all_checks_of_a_model_that_knows_nothing(pairs, encoder):
    metrics = RetrievalEvaluator(pairs, ks=[1, 10])(encoder) | ZeroShotEvaluator(pairs)(encoder)
    checks = run_checks(pairs, encoder, metrics, pair_queries(pairs), ["{}"])
    assert all(control["passes"] for control in checks["label_shuffled"]) and checks["random_floor"]["passes"]
    assert checks["arithmetic"]["passes"] and not any(one["collapsed"] for one in checks["embedding_collapse"])
    top1 = checks["majority_class"]["top1"]
    assert (checks["majority_class"]["name"], top1["k"], top1["n"]) == ("Sign 0", 60, 90)
    assert not top1["model_is_above"]
    json.dumps(checks)


def test_a_model_that_always_says_the_commonest_is_not_blamed_on_the_shuffle(pairs, helpers):
    class Stubborn(helpers.HashEncoder):
        def encode_images(self, images):
            return np.tile(self.vector("Sign 0"), (len(images), 1))

    checks = run_checks(pairs, Stubborn(), {}, {}, ["{}"])
    control = checks["label_shuffled"][1]
    assert control["value"] == control["expected"] == pytest.approx(60 / 90) and control["passes"]
    collapsed = {one["of"]: one["collapsed"] for one in checks["embedding_collapse"]}
    assert collapsed == {"images": True, "captions": False, "phenotype names": False}


def test_a_broken_ranking_is_caught():
    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    honest = shuffled_pairs(rows, rows, 0)
    assert honest["passes"] and honest["expected"] == pytest.approx(10 / 300)
    order = np.random.default_rng(0).permutation(300)
    leaked = shuffled_pairs(rows, rows[np.argsort(order)], 0)  # the shuffled answer is the very image
    assert leaked["value"] == 1.0 and not leaked["passes"]


def test_a_model_above_the_majority(pairs):
    found = majority_class(pairs, {"zero_shot_top1": MetricValue(0.9, (0.8, 0.95), 90)})
    assert found["top1"]["model_is_above"] and not found["top5"]["model_is_above"]


def test_arithmetic_names_what_cannot_be():
    hits = np.array([1.0, 0.0, 0.0, 1.0])
    queries = {"i2t": Queries("pair", tuple("abcd"))}

    def problems(**metrics):
        return " ".join(arithmetic(metrics, queries)["problems"])

    assert problems(i2t_hit_at_1=MetricValue(0.5, (0, 1), 4, 0.1, hits)) == ""
    assert "not 2 / 4" in problems(i2t_hit_at_1=MetricValue(0.6, (0, 1), 4, 0.1, hits))
    assert "n is 5" in problems(i2t_hit_at_1=MetricValue(0.5, (0, 1), 5, 0.1, hits))
    assert "is no share" in problems(i2t_recall_at_1=MetricValue(1.2, (0, 2), 4))
    values = {"i2t_hit_at_1_strict": MetricValue(0.5, (0, 1), 4), "i2t_hit_at_10_strict": MetricValue(0.4, (0, 1), 4)}
    assert "i2t_hit_strict falls with k" in problems(**values)
    values = {"i2t_hit_at_1": MetricValue(0.5, (0, 1), 4), "i2t_recall_at_1": MetricValue(0.6, (0, 1), 4)}
    assert "above the hit rate" in problems(**values)


def test_a_random_model_gives_equal_things_equal_vectors():
    encoder = RandomEncoder(["a", "b"])
    assert np.array_equal(encoder.encode_images([1, 2]), encoder.encode_images([1, 2]))
    assert np.array_equal(*encoder.encode_texts(["x", "x"])) and collapse("x", encoder.encode_texts(["x"]))["n"] == 1


def test_metadata_columns_are_few_valued_and_in_the_order_of_the_rows(tmp_path):
    rows = [
        {
            "file_name": f"images/{n}.png",
            "caption": "c",
            "sex": "F" if n % 2 else "M",
            "n": n,
            "case_id": n % 3,
            "note": {},
        }
        for n in range(40)
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert metadata_columns(tmp_path, ["1.png", "2.png", "5.png"])["sex"] == ("F", "M", "F")
    every = metadata_columns(tmp_path, [f"{n}.png" for n in range(40)])
    assert list(every) == ["sex"]  # 40 numbers are too many values, a case is no kind
    for data, names in ((tmp_path, ["no.png"]), (tmp_path / "none", ["1.png"]), (None, ["1.png"]), (tmp_path, [])):
        assert metadata_columns(data, names) == {}
    (tmp_path / "a.csv").write_text("id,caption,plane\n1,x,axial\n1,y,coronal\n2,z,\n")
    assert metadata_columns(tmp_path / "a.csv", ["1", "1", "2"]) == {"plane": ("axial", "coronal", "")}
    (tmp_path / "b.jsonl").write_text("{")
    assert metadata_columns(tmp_path / "b.jsonl", ["1"]) == {}
