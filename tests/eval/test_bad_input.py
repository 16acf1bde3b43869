"""What cannot be measured is one clear sentence and no table, whatever the kind of task."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from phenolip.eval.run import evaluate
from phenolip.eval.tasks.registry import TASKS_DIR, load_task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.modeling_phenolip import PhenoLIPModel

PHENOTYPES = ("HP:0000518", "HP:0011510")
CLASSES = {"normal": None, "pneumonia": None}
MODES = ("L", "RGB", "RGBA", "P", "LA", "I;16", "1", "CMYK")


def save(path, shade, mode="L"):
    """A picture of one shade in a mode of Pillow; JPEG where PNG has no such mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (40, 36), shade)
    if mode == "I;16":
        image = Image.fromarray(np.full((36, 40), 257 * shade, np.uint16))
    elif mode != "L":
        image = image.convert(mode)
    image.save(path, "JPEG" if mode == "CMYK" else "PNG")


def pairs(folder, modes=("L",)):
    rows = []
    for number in range(8):
        save(folder / f"{number}.png", 25 * number, modes[number % len(modes)])
        rows.append({"file_name": f"{number}.png", "caption": f"image {number}", "hpo_ids": [PHENOTYPES[number % 2]]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def folders(folder, modes=("L",)):
    for split in ("train", "val", "test"):
        for number in range(16):
            name = ("normal", "pneumonia")[number // 8]
            save(folder / split / name / f"{number}.png", 15 * number, modes[number % len(modes)])
    return folder


def masks(folder, modes=("L",)):
    for number in range(12):
        save(folder / "images" / f"{number}.png", 15 * number, modes[number % len(modes)])
        save(folder / "masks" / f"{number}.png", 255)
    return folder


def faces(folder, modes=("L",)):
    lines = ["image,hpo_ids"]
    for number in range(8):
        save(folder / f"{number}.png", 25 * number, modes[number % len(modes)])
        lines.append(f"{number}.png,{PHENOTYPES[number % 2]}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


SMALL_SEGMENTATION = {"image_size": 32, "num_steps": 1, "num_seeds": 1, "fractions": [1.0], "decoder_width": 16}
KINDS = {  # kind -> task, its changed settings, what writes its data
    "pairs": ("phenobench", {}, pairs),
    "classes": ("pneumoniamnist", {"layout": {"kind": "folders"}, "classes": CLASSES}, folders),
    "probe": ("pneumoniamnist_probe", {"layout": {"kind": "folders"}, "classes": CLASSES}, folders),
    "masks": ("segmentation_small", {**SMALL_SEGMENTATION, "controls": [], "modes": ["frozen"]}, masks),
    "faces": ("faces", {}, faces),
    "knowledge": ("knowledge", {"num_names": 40, "num_definitions": 20, "num_pairs": 50}, None),
}
SLOW = ("pairs", "probe", "knowledge")
WITH_IMAGES = [kind for kind, (_, _, write) in KINDS.items() if write]


def slow_ones(kinds):
    """The kinds, those that take a second marked as slow."""
    return [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in kinds]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("phenolip.eval.metrics.grouped_bootstrap._MIN_RESAMPLES", 5)
    monkeypatch.setattr("phenolip.eval.metrics.grouped_bootstrap._MAX_RESAMPLES", 5)


def run(kind, model, tmp_path, modes=("L",), data=None, **options):
    """Evaluates a small version of a kind of task."""
    name, changes, write = KINDS[kind]
    settings = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text())
    first = next(iter(settings["evaluators"]))
    settings["evaluators"][first] |= changes
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    data = data or (write(tmp_path / "data", modes) if write else None)
    return evaluate(str(model), tmp_path / "mine.yaml", data, tmp_path / "out", report=False, **options).results


def assert_refused(error, match, tmp_path, call):
    """One sentence on one line, and no table."""
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not (tmp_path / "out" / "results.json").exists() and not (tmp_path / "out" / "report.md").exists()


@pytest.mark.parametrize(
    "name",
    ["phenobench", "phenobench_full", "phenobench_ontology", "pneumoniamnist", "pneumoniamnist_probe",
     "segmentation_small", "faces", "knowledge", "findings", "finegrained", "unseen"],
)  # fmt: skip
def test_an_unknown_metric_in_a_task_file(name, tmp_path):
    settings = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text())
    for wrong in ("recall_at_1", settings["primary_metric"] + " ", None, ["i2t_hit_at_1"]):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings | {"primary_metric": wrong}))
        assert_refused(
            ConfigurationError,
            "mine.yaml: `primary_metric` must be a metric of",
            tmp_path,
            lambda: load_task(tmp_path / "mine.yaml"),
        )


@pytest.mark.slow
def test_a_metric_that_a_run_of_the_knowledge_task_does_not_measure(tiny_model_dir, tmp_path):
    settings = yaml.safe_load((TASKS_DIR / "knowledge.yaml").read_text())
    settings |= {"primary_metric": "synonym_to_name_hit_at_7", "evaluators": {"knowledge": KINDS["knowledge"][1]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    assert_refused(
        ConfigurationError,
        "measures no 'synonym_to_name_hit_at_7'",
        tmp_path,
        lambda: evaluate(str(tiny_model_dir), tmp_path / "mine.yaml", None, tmp_path / "out"),
    )


@pytest.fixture(scope="module")
def image_tower(tiny_model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("image_tower")
    PhenoLIPModel.from_pretrained(tiny_model_dir).vision_model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_a_text_tower(kind, image_tower, tmp_path):
    match = "must have a text tower, got the model type 'phenolip_vision_model'"
    assert_refused(ConfigurationError, match, tmp_path, lambda: run(kind, image_tower, tmp_path))


def test_findings_of_a_model_instead_of_a_file(image_tower, tmp_path):
    (tmp_path / "reports.jsonl").write_text('{"uid": "1", "text": "No effusion.", "mesh": ["normal"]}\n')
    assert_refused(
        DataError,
        "cannot be read",
        tmp_path,
        lambda: evaluate(image_tower, "findings", tmp_path / "reports.jsonl", tmp_path / "out"),
    )


@pytest.fixture(scope="module")
def broken_model(tiny_model_dir, tmp_path_factory):
    """Weights of NaN in the first layer of each tower."""
    folder = tmp_path_factory.mktemp("broken") / "model"
    shutil.copytree(tiny_model_dir, folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "encoder.layer.0" in name or "layers.0." in name:
            weights[name] = weights[name] * float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("kind", slow_ones(KINDS))
def test_embeddings_of_nan(kind, broken_model, tmp_path):
    assert_refused(DataError, "NaN|finite", tmp_path, lambda: run(kind, broken_model, tmp_path))


@pytest.mark.parametrize("kind", slow_ones(WITH_IMAGES))
def test_images_of_mixed_modes_are_measured(kind, tiny_model_dir, tmp_path):
    results = run(kind, tiny_model_dir, tmp_path, MODES)
    assert results["n"] in (2, 8, 16)
    assert all(metric["value"] is not None for name, metric in results["metrics"].items() if "positive" not in name)


EMPTY = {
    "pairs": (lambda folder: (folder / "metadata.jsonl").write_text(""), "has no row|no rows|is empty|no usable row"),
    "classes": (lambda folder: shutil.rmtree(folder / "test" / "normal"), "the classes normal have no image"),
    "probe": (lambda folder: [shutil.rmtree(child) for child in (folder / "train").iterdir()], "got no image of any"),
    "masks": (lambda folder: [path.unlink() for path in (folder / "masks").iterdir()], "has a mask in masks/"),
    "faces": (lambda folder: (folder / "faces.csv").write_text("image,hpo_ids\n"), "has no rows"),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_split(kind, tiny_model_dir, tmp_path):
    empty, match = EMPTY[kind]
    data = KINDS[kind][2](tmp_path / "data")
    empty(data)
    assert_refused(DataError, match, tmp_path, lambda: run(kind, tiny_model_dir, tmp_path, data=data))


def test_a_split_that_the_data_lacks(tiny_model_dir, tmp_path):
    assert_refused(
        DataError, "no row can be used", tmp_path, lambda: run("faces", tiny_model_dir, tmp_path, split="holdout")
    )


@pytest.mark.parametrize("kind", ["classes", "probe"])
def test_classes_missing_from_an_npz(kind, tiny_model_dir, tmp_path):
    name = KINDS[kind][0]
    settings = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text())
    (options,) = settings["evaluators"].values()
    options |= {"classes": {"normal": None, "pneumonia": None, "tumour": None}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    arrays = {}
    for split in ("train", "val"):
        labels = np.arange(20, dtype=np.uint8) % 2
        arrays |= {
            f"{split}_images": np.tile(labels[:, None, None] * 99, (1, 8, 8)),
            f"{split}_labels": labels[:, None],
        }
    np.savez(tmp_path / "set.npz", **arrays)
    assert_refused(
        DataError,
        r"no image shows the classes tumour \(tumour\): correct `classes`, or leave them out",
        tmp_path,
        lambda: evaluate(str(tiny_model_dir), tmp_path / "mine.yaml", tmp_path / "set.npz", tmp_path / "out"),
    )
