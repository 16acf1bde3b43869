"""Figures of tasks over classes, probes, masks and faces, counted again by a script that shares no code with them."""

import importlib.util
import json
import math
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.eval.run import evaluate
from phenolip.eval.tasks.registry import TASKS_DIR
from phenolip.images import decode_image
from phenolip.modeling_phenolip import build_tower

SCRIPT = Path(__file__).with_name("recount_figures.py")
DATA = os.environ.get("PHENOLIP_TEST_DATA")
LITE = EfficientNetLiteConfig(
    stem_size=8, hidden_sizes=[8, 16], depths=[1, 1], kernel_sizes=[3, 3], strides=[1, 2], expand_ratios=[1, 2],
    hidden_size=16,
)  # fmt: skip
FACES = ("HP:0000494", "HP:0000316", "HP:0000369", "HP:0001166")


@pytest.fixture(scope="module")
def recount():
    spec = importlib.util.spec_from_file_location("recount_figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def few_resamples(request, monkeypatch):
    """Intervals of 20 resamples where a test is about the figures."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("phenolip.eval.metrics.grouped_bootstrap._MIN_RESAMPLES", 20)
        monkeypatch.setattr("phenolip.eval.metrics.grouped_bootstrap._MAX_RESAMPLES", 20)


class ShadeEncoder:
    """Images by their brightness in coarse steps, so that scores tie; texts by their letters."""

    name, has_images, logit_scale = "shade", True, 10.0

    class image_processor:
        image_mean, image_std = (0.5,) * 3, (0.25,) * 3

    def __init__(self):
        torch.manual_seed(0)
        self.model = torch.nn.Module()
        self.model.vision_model = torch.nn.Module()
        self.model.vision_model.tower = build_tower(LITE).eval()

    def encode_images(self, images, **_):
        shades = np.array([np.asarray(decode_image(images[row])).mean() // 8 * 8 for row in range(len(images))]) / 255
        return np.stack([np.cos(shades), np.sin(shades), np.zeros_like(shades)], axis=1).astype(np.float32)

    def encode_texts(self, texts, **_):
        rows = np.array([[len(text) % 5 + 1, text.count("e") + 0.5, 0.3] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def task(folder, name, **changes):
    """A task of the package with other settings."""
    settings = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text())
    ((evaluator, options),) = settings["evaluators"].items()
    settings["evaluators"] = {evaluator: options | changes}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    return folder / "mine.yaml"


def draw(path, shade, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 30, (8, 8))
    Image.fromarray((shade + noise).astype(np.uint8)).save(path)


def medmnist(folder):
    rng, arrays = np.random.default_rng(0), {}
    for split, size in (("train", 120), ("val", 60)):
        labels = (rng.random(size) < 0.7).astype(np.uint8)
        shades = np.clip(70 + 60 * labels + rng.normal(0, 40, size), 0, 255)
        arrays |= {f"{split}_images": np.tile(shades[:, None, None], (1, 4, 4)).astype(np.uint8)}
        arrays |= {f"{split}_labels": labels[:, None]}
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def several_labels(folder):
    """CheXpert's form: a column a class, uncertain labels, patients with several images, columns to break down by."""
    rng = np.random.default_rng(1)
    lines = ["file_name,patient,split,heart,fluid,never,sex,age"]
    for number in range(150):
        first, second = rng.choice([1, 0, -1], p=[0.4, 0.5, 0.1]), int(rng.random() < 0.3)
        split = ("train", "val", "test")[number // 3 % 3]
        patient, third, sex = number // 3, int(split == "val"), "FM"[number % 2]
        lines.append(f"{number}.png,p{patient},{split},{first},{second},{third},{sex},{number % 90}")
        draw(folder / f"{number}.png", 60 + 40 * max(first, 0) + rng.integers(90), number)
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    layout = {"kind": "table", "file": "table.csv", "group": "patient", "split": "split"}
    classes = {"heart": ["large heart"], "fluid": ["effusion"], "never": ["something else"]}
    return task(folder, "rsna_pneumonia", layout=layout, classes=classes, prompts=["{}", "a {} here"], normal=None)


def masked(folder):
    rng = np.random.default_rng(2)
    for number in range(20):
        pixels, mask = rng.integers(0, 90, (24, 20), dtype=np.uint8), np.zeros((24, 20), np.uint8)
        if number % 4:
            pixels[4:14, 3:9] += 120
            mask[4:14, 3:9] = 255
        for part, values in (("images", pixels), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / part / f"p{number // 2}-{number}.png")
    return folder


def face_set(folder):
    lines = ["image,hpo_ids,patient_id,split,skin_type,age"]
    for number in range(24):
        ids = " ".join({FACES[number % 4], FACES[number * 3 % 4]})
        lines.append(
            f"f{number}.png,{ids},p{number // 2},{'val' if number > 15 else 'test'},{number % 3 + 1},{number}"
        )
        draw(folder / f"f{number}.png", 8 * number, number)
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


def check(recount, folder, num_at_least):
    rows = recount.compare(folder)
    assert len(rows) >= num_at_least and len({name for name, _, _ in rows}) == len(rows)
    for name, ours, stated in rows:
        assert recount.same(ours, stated), (name, ours, stated)
    return {name: stated for name, _, stated in rows}


def test_zero_shot_of_one_label(recount, tmp_path):
    results = evaluate(ShadeEncoder(), "pneumoniamnist", medmnist(tmp_path), tmp_path / "out", report=False).results
    counted = check(recount, tmp_path / "out", 24)
    assert set(results["metrics"]) - set(counted) == {
        f"zero_shot_classes_ece_equal_mass{suffix}" for suffix in ("", "_at_val_temperature")
    }


def test_zero_shot_of_several_labels_with_uncertain_ones(recount, tmp_path):
    mine = several_labels(tmp_path)
    results = evaluate(ShadeEncoder(), mine, tmp_path, tmp_path / "out", report=False).results
    counted = check(recount, tmp_path / "out", 10)
    assert set(results["metrics"]) <= set(counted)
    assert results["classes"][2]["excluded"] == "no positive"
    by = {entry["by"]: entry["rows"] for entry in results["breakdowns"]}
    assert list(by) == ["sex", "age"] and [row["key"] for row in by["sex"]] == ["F", "M"]
    assert sum(row["n"] for row in by["age"]) == results["n"] == 48
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    female = rows[(rows["part"] == "test") & (rows["row_id"].str.removesuffix(".png").astype(int) % 2 == 0)]
    again = recount.zero_shot(female, {"metrics": {}})["zero_shot_classes_macro_auroc"]
    assert by["sex"][0]["metrics"]["zero_shot_classes_macro_auroc"]["value"] == pytest.approx(again, abs=1e-12)
    for entry in results["classes"][:2]:
        assert entry["auroc_ci95"][0] <= entry["auroc"] <= entry["auroc_ci95"][1] > entry["auroc_ci95"][0]


def test_probes(recount, tmp_path):
    results = evaluate(
        ShadeEncoder(), "pneumoniamnist_probe", medmnist(tmp_path), tmp_path / "out", report=False
    ).results
    counted = check(recount, tmp_path / "out", 12)
    assert {name.rsplit("_at_", 1)[0] for name in set(results["metrics"]) - set(counted)} == {"probe_ece_equal_mass"}


def test_masks(recount, tmp_path):
    settings = {"image_size": 32, "num_steps": 2, "num_seeds": 2, "fractions": [0.5, 1.0], "decoder_width": 16}
    mine = task(tmp_path, "segmentation_small", **settings, controls=["random"], group_separator="-")
    (tmp_path / "set").mkdir()
    results = evaluate(ShadeEncoder(), mine, masked(tmp_path / "set"), tmp_path / "out", report=False).results
    assert set(check(recount, tmp_path / "out", 24)) == set(results["metrics"])
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    for row in rows.drop_duplicates("row_id").itertuples():
        assert (np.asarray(Image.open(tmp_path / "set" / "masks" / row.row_id)) > 127).sum() == row.num_mask


def test_faces(recount, tmp_path):
    results = evaluate(ShadeEncoder(), "faces", face_set(tmp_path), tmp_path / "out", report=False).results
    assert set(check(recount, tmp_path / "out", 12)) == set(results["metrics"])
    by = {entry["by"]: entry["rows"] for entry in results["breakdowns"]}
    assert [row["n"] for row in by["skin_type"]] == [6, 5, 5] and list(by) == [
        "skin_type"
    ]  # one band of ages: no parts


def test_a_changed_figure_is_found(recount, tmp_path):
    evaluate(ShadeEncoder(), "pneumoniamnist", medmnist(tmp_path), tmp_path / "out", report=False)
    path = tmp_path / "out" / "results.json"
    results = json.loads(path.read_text())
    results["metrics"]["zero_shot_classes_macro_auprc"]["value"] += 1e-6
    path.write_text(json.dumps(results))
    different = [name for name, ours, stated in recount.compare(tmp_path / "out") if not recount.same(ours, stated)]
    assert different == ["zero_shot_classes_macro_auprc"] and not recount.same(math.nan, 0.5)


def test_the_interval_of_a_mean_is_that_of_another_generator(recount):
    from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals

    rng = np.random.default_rng(3)
    groups = [str(row) for row in rng.integers(40, size=300)]
    values = (rng.random(300) < 0.4).astype(float)
    ours = recount.interval(values, groups)
    theirs = grouped_intervals(lambda rows, _: np.array([values[rows].mean()]), groups, num_resamples=4000)[0]
    assert theirs == pytest.approx(ours, abs=0.006)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA names the folder of real data")
@pytest.mark.parametrize(
    ("name", "data", "n"),
    [
        ("pneumoniamnist", "pneumoniamnist/pneumoniamnist.npz", 524),
        ("pneumoniamnist_probe", "pneumoniamnist/pneumoniamnist.npz", 524),
        ("medpix_modality", "medpix2", 197),
        ("medpix_plane", "medpix2", 181),
    ],
)
def test_real_sets_and_untrained_towers(recount, name, data, n, tmp_path):
    from phenolip.train.towers import build_preset

    for part in build_preset("mini", image_size=64):
        part.save_pretrained(tmp_path / "model")
    results = evaluate(str(tmp_path / "model"), name, Path(DATA, data), tmp_path / "out", report=False).results
    counted = check(recount, tmp_path / "out", 12)
    assert results["n"] == n
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    rows = rows[(rows["part"] == "test") & rows["draw"].isin(["", "100_percent 0"])]
    metric = results["metrics"][results["primary_metric"]]
    right = [truth.argmax() == scores.argmax() for truth, scores in zip(rows["truth"], rows["scores"], strict=True)]
    assert np.mean(right) == pytest.approx(counted[results["primary_metric"]])
    assert metric["ci95"] == pytest.approx(recount.interval(np.array(right, float), rows["group_id"]), abs=0.02)
