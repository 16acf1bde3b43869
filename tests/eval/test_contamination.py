"""The audit of a model's training rows inside evaluation."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.eval import contamination
from phenolip.eval.contamination import TaskRows, audit_task, clean_part, find_contamination, training_index
from phenolip.eval.evaluators.base import MetricValue
from phenolip.exceptions import DataError
from phenolip.near_copies import caption_hash, perceptual_hash


def picture(seed, nudge=0):
    """A smooth picture; a nudge changes the file, hardly what is seen."""
    waves = np.random.default_rng(seed).normal(size=(6, 6))
    pixels = np.kron(waves, np.ones((16, 16)))
    pixels = 255 * (pixels - pixels.min()) / np.ptp(pixels)
    return Image.fromarray(np.clip(pixels + nudge, 0, 255).astype(np.uint8)).convert("RGB")


@pytest.fixture
def index(tmp_path):
    table = {
        "sha256": [hashlib.sha256(b"a").hexdigest(), "other"],
        "row_id": ["PMC1234567_fig1.jpg", "row 2"],
        "group_id": ["", "case 7"],
        "caption_sha256": [caption_hash("A  dark Spot."), caption_hash("nothing")],
        "phash": pa.array([perceptual_hash(picture(1)), perceptual_hash(picture(2))], pa.uint64()),
    }
    pq.write_table(pa.table(table), tmp_path / "training_index.parquet")
    return tmp_path / "training_index.parquet"


def test_each_criterion_finds_its_row_and_no_other(index):
    rows = TaskRows(
        sha256=[hashlib.sha256(b"a").hexdigest(), "x", "x", "x", "x"],
        images=[picture(10), picture(1, nudge=1), picture(11), picture(12), picture(13)],
        captions=["b", "c", "a dark spot.", "d", "e"],
        row_ids=["q", "r", "s", "PMC1234567_fig9.jpg", "t"],
        group_ids=["", "", "", "", "case 7"],
    )
    audit = audit_task(index, rows, "model")
    found = {name: np.flatnonzero(touched).tolist() for name, touched in audit.touched.items()}
    assert found == {
        "same_image": [0], "near_image": [1], "same_caption": [2], "same_row_id": [], "same_article": [3, 4],
    }  # fmt: skip
    assert audit.summary()["num_rows_touched"] == 5 and audit.summary()["num_rows_in_training"] == 1


def test_repeated_images_are_hashed_once(index):
    rows = TaskRows(sha256=["x"] * 3, images=[picture(1), picture(20)], image_codes=np.array([0, 1, 0]))
    assert audit_task(index, rows, "m").touched["near_image"].tolist() == [True, False, True]


def test_what_a_side_lacks_is_not_compared(index):
    summary = audit_task(index, TaskRows(sha256=["x"]), "model").summary()
    assert summary["criteria"] == {"same_image": 0}
    assert summary["not_compared"] == ["near_image", "same_caption", "same_row_id", "same_article"]


def test_clean_part_is_the_mean_over_untouched_queries():
    hits = np.array([1.0, 0.0, 1.0, 1.0])
    metrics = {
        "i2t_hit_at_1": MetricValue(0.75, (0, 1), 4, None, hits),
        "zero_shot_top1": MetricValue(0.5, (0, 1), 2, None, np.array([1.0, 0.0])),
        "p2i_hit_at_1": MetricValue(0.5, (0, 1), 2, None, np.array([1.0, 0.0])),
        "i2t_median_rank": MetricValue(3.0, (0, 1), 4),
    }
    touched = np.array([True, False, False, False])
    rows_of = {"i2t": np.arange(4), "zero_shot": np.array([0, 3])}
    found = clean_part(metrics, rows_of, touched, np.arange(4))
    assert set(found) == {"i2t_hit_at_1", "zero_shot_top1"}
    assert found["i2t_hit_at_1"]["value"] == pytest.approx(2 / 3) and found["i2t_hit_at_1"]["n"] == 3
    assert found["zero_shot_top1"]["value"] == 0.0 and found["zero_shot_top1"]["value_of_all"] == 0.5
    assert clean_part(metrics, rows_of, np.ones(4, bool), np.arange(4)) == {}


class InMemory:
    name = "vision"  # an ordinary word, which is the name of a repository too


def test_no_name_of_an_object_is_looked_up(monkeypatch, tmp_path):
    def asked(*_):
        raise AssertionError("looked up")

    monkeypatch.setattr(contamination, "model_file", asked)
    assert training_index(InMemory(), InMemory()) is None
    assert find_contamination("vision", ["x"]) is None
    assert audit_task(None, TaskRows(sha256=["x"]), "vision") is None


def test_a_folder_is_looked_into(index):
    encoder = InMemory()
    encoder.name = str(index.parent)
    assert training_index(str(index.parent), encoder) == index
    assert find_contamination(str(index.parent), ["other"])["num_rows_in_training"] == 1


def test_a_damaged_index(tmp_path):
    (tmp_path / "training_index.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="must be a Parquet file with a column sha256"):
        audit_task(tmp_path / "training_index.parquet", TaskRows(sha256=["x"]), "m")
