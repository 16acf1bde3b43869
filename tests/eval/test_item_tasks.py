"""Tasks over classes, masks, faces and reports: the audit of training rows, and two runs compared query by query."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.eval.compare import compare_runs, load_run
from phenolip.eval.comparison_table import compare_rows, to_markdown, to_text
from phenolip.eval.run import evaluate
from phenolip.eval.tasks.registry import TASKS_DIR
from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image
from phenolip.modeling_phenolip import build_tower
from phenolip.near_copies import perceptual_hash

LITE = EfficientNetLiteConfig(
    stem_size=8, hidden_sizes=[8, 16], depths=[1, 1], kernel_sizes=[3, 3], strides=[1, 2], expand_ratios=[1, 2],
    hidden_size=16,
)  # fmt: skip
PHENOTYPES = ("HP:0000494", "HP:0000316", "HP:0000369")
METRICS = {
    "pneumoniamnist": "zero_shot_classes_top1",
    "pneumoniamnist_probe": "probe_accuracy_at_100_percent",
    "segmentation_small": "segmentation_frozen_dice_all_at_100_percent",
    "faces": "faces_hit_at_5",
}
NO_MEANS = {
    "pneumoniamnist": "zero_shot_classes_macro_auroc",
    "pneumoniamnist_probe": "probe_macro_auroc_at_100_percent",
}


class WaveEncoder:
    """Images by a random map of their pixels, texts by a random map of their letters; the seed is the model."""

    has_images, logit_scale = True, 10.0

    class image_processor:
        image_mean, image_std = (0.5,) * 3, (0.25,) * 3

    def __init__(self, seed, name="model"):
        torch.manual_seed(seed)
        self.name, self.maps = name, np.random.default_rng(seed).normal(size=(256, 6))
        self.model = torch.nn.Module()
        self.model.vision_model = torch.nn.Module()
        self.model.vision_model.tower = build_tower(LITE).eval()

    def _unit(self, rows):
        rows = np.asarray(rows, np.float64) @ self.maps
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def encode_images(self, images, **_):
        pictures = (decode_image(images[row]).convert("L").resize((16, 16)) for row in range(len(images)))
        return self._unit([np.asarray(picture, float).ravel() - 127.3 for picture in pictures])

    def encode_texts(self, texts, **_):
        return self._unit([np.bincount([ord(letter) % 256 for letter in text], minlength=256) for text in texts])


def picture(path, seed):
    """Smooth enough that its perceptual hash is its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.kron(np.random.default_rng(seed).normal(size=(6, 6)), np.ones((8, 8)))
    Image.fromarray((255 * (pixels - pixels.min()) / np.ptp(pixels)).astype(np.uint8)).save(path)
    return path


def write_data(task, folder):
    """20 test images of ten patients or so, in the layout of the task."""
    if task.startswith("pneumonia"):
        for number in range(60):
            picture(folder / ("train", "val", "test")[number % 3] / ("a", "b")[number % 2] / f"{number}.png", number)
        return sorted((folder / "test").rglob("*.png"))
    if task == "faces":
        rows = ["image,hpo_ids,patient_id"]
        for number in range(20):
            picture(folder / f"{number}.png", number)
            rows.append(f"{number}.png,{PHENOTYPES[number % 3]},p{number // 2}")
        (folder / "faces.csv").write_text("\n".join(rows) + "\n")
        return [folder / f"{number}.png" for number in range(20)]
    for number in range(40):
        split = ("train", "test")[number % 2]
        picture(folder / split / "images" / f"p{number // 4}{split}-{number}.png", number)
        mask = np.zeros((48, 48), np.uint8)
        mask[: number % 5 * 8] = 255
        (folder / split / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / split / "masks" / f"p{number // 4}{split}-{number}.png")
    return sorted((folder / "test" / "images").iterdir())


def small(task, folder):
    settings = yaml.safe_load((TASKS_DIR / f"{task}.yaml").read_text())
    (options,) = settings["evaluators"].values()
    if task.startswith("pneumonia"):
        options |= {"layout": {"kind": "folders"}, "classes": {"a": ["normal"], "b": ["pneumonia"]}}
        options.pop("normal", None)
    if task == "segmentation_small":
        options |= {"image_size": 32, "num_steps": 1, "num_seeds": 1, "fractions": [1.0], "decoder_width": 16}
        options |= {"modes": ["frozen"], "controls": [], "group_separator": "-"}
    if task == "faces":
        options |= {"ks": [1, 5]}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    return folder / "mine.yaml"


@pytest.fixture(
    scope="module",
    params=[pytest.param(task, marks=pytest.mark.slow) if "probe" in task else task for task in METRICS],
)
def runs(request, tmp_path_factory):
    """Two models on one set; the first was trained on three of its test images and on a near copy of a fourth."""
    folder = tmp_path_factory.mktemp(request.param)
    images = write_data(request.param, folder / "data")
    (folder / "model").mkdir()
    index = {
        "sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in images[:3]] + ["other"],
        "phash": pa.array([0, 0, 0, perceptual_hash(Image.open(images[5]))], pa.uint64()),
        "row_id": ["x", "y", "z", "w"],
        "group_id": ["", "", "", ""],
    }
    pq.write_table(pa.table(index), folder / "model" / "training_index.parquet")
    task = small(request.param, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phenolip.eval.metrics.grouped_bootstrap._MIN_RESAMPLES", 20)
        patch.setattr("phenolip.eval.metrics.grouped_bootstrap._MAX_RESAMPLES", 20)
        for seed, name in ((0, str(folder / "model")), (1, "other")):
            evaluate(
                WaveEncoder(seed, name), task, folder / "data", folder / f"run{seed}", report=request.param == "faces"
            )
    return request.param, folder


def test_training_images_in_the_task_and_the_scores_without_them(runs):
    task, folder = runs
    results = json.loads((folder / "run0" / "results.json").read_text())
    found = results.get("contamination") or results["checks"]["contamination"]
    assert found["criteria"]["same_image"] == 3 and found["num_rows_touched"] == 4 and found["num_rows"] == 20
    assert found["not_compared"] == ["same_caption"]
    name = METRICS[task]
    values = pq.read_table(folder / "run0" / "per_query.parquet", filters=[("metric", "==", name)]).to_pandas()
    touched = [0, 1, 2, 5]
    clean = values["value"].to_numpy()[[row for row in range(20) if row not in touched]]
    if task == "pneumoniamnist_probe":  # the mean of one draw
        assert found["clean"][name]["value_of_all"] == pytest.approx(values["value"].mean())
    assert found["clean"][name]["value"] == pytest.approx(clean.mean(), abs=1e-12) and found["clean"][name]["n"] == 16
    assert set(found["clean"]) == set(results["metrics"])
    other = json.loads((folder / "run1" / "results.json").read_text())
    assert (other["contamination"] if "contamination" in other else other["checks"]["contamination"]) is None


def test_two_runs_are_compared_query_by_query_over_whole_groups(runs):
    task, folder = runs
    name = METRICS[task]
    rows = {seed: [load_run(folder / f"run{seed}")] for seed in (0, 1)}
    found = compare_runs(rows[0], rows[1], [name])
    values = [rows[seed][0].values[name].values for seed in (0, 1)]
    assert found.difference == pytest.approx((values[1] - values[0]).mean(), abs=1e-12) and found.n == {name: 20}
    clusters = rows[0][0].clusters["image"]
    assert len(set(clusters.values())) == (20 if task.startswith("pneumonia") else 10)
    table = compare_rows({str(seed): run for seed, run in rows.items()})
    assert name in table.metrics and len(table.metrics) <= 7
    cell = table.rows[1].cells[name]
    assert cell.difference_ci95 == found.ci95 and cell.p_holm >= cell.p_value == found.p_value
    if task in NO_MEANS:
        assert f"{NO_MEANS[task]}" in to_markdown(table) and "no value per query" in to_text(table).replace("\n", " ")
        with pytest.raises(ConfigurationError, match="has no value per query: only means can be compared so"):
            compare_runs(rows[0], rows[1], [NO_MEANS[task]])
    else:
        assert "no value per query" not in to_text(table)


def test_findings_of_two_extractors(tmp_path):
    reports, found = [], {0: [], 1: []}
    for number in range(12):
        side = ("left", "right")[number % 2]
        reports.append({"uid": str(number), "text": "x", "mesh": [f"Pleural Effusion/{side}", "Cardiomegaly/mild"]})
        for extractor in (0, 1):
            said = side if number % (extractor + 2) else "left"
            finding = {"category": "pleural effusion", "location": said, "severity": None, "assertion": "present"}
            found[extractor].append({"uid": str(number), "findings": [finding] if number else []})
    (tmp_path / "reports.jsonl").write_text("\n".join(map(json.dumps, reports)))
    for extractor, rows in found.items():
        (tmp_path / f"found{extractor}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        evaluate(
            tmp_path / f"found{extractor}.jsonl", "findings", tmp_path / "reports.jsonl", tmp_path / f"run{extractor}"
        )
    runs = {str(number): [load_run(tmp_path / f"run{number}")] for number in (0, 1)}
    table = compare_rows(runs)
    assert table.metrics == ("findings_category_f1", "findings_laterality_accuracy")
    values = [runs[name][0].values["findings_laterality_accuracy"].values for name in ("0", "1")]
    cell = table.rows[1].cells["findings_laterality_accuracy"]
    assert cell.difference == pytest.approx(values[1].mean() - values[0].mean()) and cell.p_holm is not None
    assert table.rows[1].cells["findings_category_f1"].p_holm is None
    assert "findings_category_f1 has no value per query" in to_text(table).replace("\n", " ")
    effusion = next(
        entry for entry in runs["0"][0].results["classes"] if "Pleural Effusion" in entry["name"].split(" / ")
    )
    assert (effusion["indexed"], effusion["found"], effusion["both"]) == (12, 11, 11)
    assert effusion["precision"] == 1 and effusion["recall"] == pytest.approx(11 / 12)
    assert effusion["recall_ci95"][0] < 11 / 12 <= effusion["recall_ci95"][1]
    assert "91.7 (" in (tmp_path / "run0" / "report.md").read_text()
