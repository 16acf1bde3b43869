"""MedFILIP's sets: a few drawn items in each published layout, and the protocols of its tables."""

import csv

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.labelled_splits import load_splits
from phenolip.eval.evaluators.zero_shot_classes import ZeroShotClassesEvaluator
from phenolip.eval.task_classes import read_classes
from phenolip.eval.tasks.registry import load_task

NUM = 60


class ShadeEncoder:
    """Places images by their brightness, texts by their length."""

    name, has_images, logit_scale = "shade", True, 10.0

    def encode_images(self, images):
        from phenolip.images import decode_image

        angles = np.array([np.asarray(decode_image(images[row])).mean() / 255 for row in range(len(images))])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def encode_texts(self, texts):
        angles = np.array([len(text) % 7 / 7 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def draw(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade % 256).save(path)


def table(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def rsna(root, names):
    rows = [(f"p{n}", "", "", "", "", n % 2) for n in range(NUM)]
    table(root / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), rows)
    for n in range(NUM):
        draw(root / f"stage_2_train_images/p{n}.png", 4 * n)


def nih(root, names):
    rows = [(f"{n:08d}_000.png", "|".join({names[n % len(names)], names[n * 7 % len(names)]}), n) for n in range(NUM)]
    table(root / "Data_Entry_2017.csv", ("Image Index", "Finding Labels", "Patient ID"),
          [*rows, ("gone.png", "No Finding", 99)])  # fmt: skip
    for n in range(NUM):
        draw(root / f"images_{1 + n % 12:03d}/images/{n:08d}_000.png", 4 * n)


def vinbigdata(root, names):
    rows = [
        (f"v{n}", name, "R1") for n in range(NUM) for name in (names[n % len(names)], "Other lesion", names[n % 3])
    ]
    table(root / "train.csv", ("image_id", "class_name", "rad_id"), rows)
    for n in range(NUM):
        draw(root / f"train/v{n}.png", 4 * n)


def covid(root, names):
    for n in range(NUM):
        draw(root / ("COVID", "Normal")[n % 2] / f"{n}.png", 4 * n)


def mimic(root, names):
    splits = ("train", "validate", "test")
    rows = [(f"p1/s{n}.png", n, splits[n % 3], names[n // 3 % len(names)]) for n in range(NUM)]
    table(root / "labels.csv", ("path", "subject_id", "split", "labels"), rows)
    for n in range(NUM):
        draw(root / f"files/p1/s{n}.png", 4 * n)


LAYOUTS = {
    "rsna_pneumonia": rsna,
    "nih_chestxray14": nih,
    "vinbigdata": vinbigdata,
    **dict.fromkeys(("covid_name", "covid_proxy", "covid_explanation"), covid),
    **dict.fromkeys(("mimic_16", "mimic_multi", "mimic_fg"), mimic),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_set_in_its_layout_gives_the_numbers_of_the_protocol(name, tmp_path, monkeypatch):
    monkeypatch.setattr("phenolip.eval.evaluators.zero_shot_classes.num_resamples_for", lambda *_: 20)
    settings = load_task(name).evaluators["zero_shot_classes"]
    classes = read_classes(settings["classes"])
    LAYOUTS[name](tmp_path, [entry.values[0] for entry in classes])
    splits = load_splits(tmp_path, classes, settings["layout"], train=False)
    found = ZeroShotClassesEvaluator(splits, classes, prompts=settings["prompts"], normal=settings.get("normal"))(
        ShadeEncoder()
    ).metrics
    names = {metric.removeprefix("zero_shot_classes_") for metric in found}
    assert {"macro_auroc", "macro_auprc", "macro_precision_at_5", "macro_f1_oracle"} <= names
    assert ("macro_f1_val_fitted" in names) == (splits.validation is not None)
    assert splits.validation is None if name.startswith("covid") else splits.validation is not None
    assert not set(splits.test.groups) & set(splits.validation.groups if splits.validation else ())
    assert splits.test.labels.max() == 1


def test_of_covid_only_the_texts_differ():
    tasks = [load_task(f"covid_{mode}").evaluators["zero_shot_classes"] for mode in ("name", "proxy", "explanation")]
    assert len({str(task["classes"]["covid"]["texts"]) for task in tasks}) == 3
    assert len({str({**task, "classes": task["classes"]["normal"]}) for task in tasks}) == 1
