"""MedFILIP's sets: a few drawn items in each published layout, and the protocols of its tables."""

import csv

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.labelled_splits import load_splits
from phenolip.eval.evaluators.zero_shot_classes import ZeroShotClassesEvaluator
from phenolip.eval.task_classes import read_classes
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import DataError

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
    task = load_task(name)
    settings = task.evaluators["zero_shot_classes"]
    classes = read_classes(settings["classes"])
    LAYOUTS[name](tmp_path, [entry.values[0] for entry in classes])
    splits = load_splits(tmp_path, classes, settings["layout"], train=False)
    found = ZeroShotClassesEvaluator(splits, classes, prompts=settings["prompts"], normal=settings.get("normal"))(
        ShadeEncoder()
    ).metrics
    names = {metric.removeprefix("zero_shot_classes_") for metric in found}
    assert {"macro_auroc", "macro_auprc", "macro_precision_at_5", "macro_f1_oracle"} <= names
    assert task.primary_metric in found
    assert ("macro_f1_val_fitted" in names) == (splits.validation is not None)
    assert splits.validation is None if name.startswith("covid") else splits.validation is not None
    assert not set(splits.test.groups) & set(splits.validation.groups if splits.validation else ())
    assert splits.test.labels.max() == 1


def test_of_covid_only_the_texts_differ():
    tasks = [load_task(f"covid_{mode}").evaluators["zero_shot_classes"] for mode in ("name", "proxy", "explanation")]
    assert len({str(task["classes"]["covid"]["texts"]) for task in tasks}) == 3
    assert len({str({**task, "classes": task["classes"]["normal"]}) for task in tasks}) == 1


def nih_copy(root, lists=None):
    """60 images of 20 patients as NIH publishes them, and its two lists where they are given."""
    settings = load_task("nih_chestxray14").evaluators["zero_shot_classes"]
    classes = read_classes(settings["classes"])
    names = [entry.values[0] for entry in classes]
    rows = [
        (f"{n // 3:08d}_{n % 3:03d}.png", "|".join({names[n % 10], names[n * 7 % 10]}), n // 3) for n in range(NUM)
    ]
    table(root / "Data_Entry_2017.csv", ("Image Index", "Finding Labels", "Patient ID"), rows)
    for n, (name, _, _) in enumerate(rows):
        draw(root / f"images_{1 + n % 12:03d}/images/{name}", 4 * n)
    for name, images in (lists or {}).items():
        (root / name).write_text("\n".join(rows[n][0] for n in images) + "\n")
    return classes, settings["layout"]


def test_nihs_official_lists_are_followed_where_the_copy_has_them(tmp_path):
    lists = {"train_val_list.txt": range(0, 42), "test_list.txt": range(42, 57)}
    splits = load_splits(tmp_path, *nih_copy(tmp_path, lists), train=True)
    assert sorted(map(int, splits.test.groups)) == [patient for patient in range(14, 19) for _ in range(3)]
    patients = [set(map(int, part.groups)) for part in (splits.train, splits.validation)]
    assert patients[0] | patients[1] == set(range(14)) and not patients[0] & patients[1]
    assert "by train_val_list.txt and test_list.txt; 3 rows of the table are in no list" in splits.about["test"]
    hashed = load_splits(tmp_path / "other", *nih_copy(tmp_path / "other"), train=True)
    assert hashed.about["test"] == "test split, by hash" and set(hashed.test.groups) != set(splits.test.groups)


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        (
            {"test_list.txt": range(9)},
            "must hold all of train_val_list.txt, test_list.txt or none, train_val_list.txt",
        ),
        ({"train_val_list.txt": range(30), "test_list.txt": range(29, 60)}, "00000009_002.png is in the list of the"),
        (
            {"train_val_list.txt": range(31), "test_list.txt": range(31, 60)},
            "Patient ID 10 has images in the train and",
        ),
        ({"train_val_list.txt": [], "test_list.txt": []}, "are empty"),
    ],
)
def test_lists_that_cannot_be_followed_are_one_sentence(lists, match, tmp_path):
    with pytest.raises(DataError, match=match):
        load_splits(tmp_path, *nih_copy(tmp_path, lists), train=False)


def test_a_patient_on_two_sides_of_a_tables_own_split_is_refused(tmp_path):
    mimic(tmp_path, ["Pneumonia"])
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(text.replace("p1/s4.png,4", "p1/s4.png,5"))
    layout = load_task("mimic_16").evaluators["zero_shot_classes"]["layout"]
    with pytest.raises(DataError, match="the subject_id 5 has images in the val and in the test split"):
        load_splits(tmp_path, read_classes({"pneumonia": None, "other": None}), layout, train=False)


def test_a_class_that_no_image_shows_is_named(tmp_path):
    classes, layout = nih_copy(tmp_path)
    wrong = (*classes, *read_classes({"hernia": {"values": ["Hernya"]}, "other": None})[:1])
    with pytest.raises(DataError, match=r"no image shows the classes hernia \(Hernya\): correct `classes`"):
        load_splits(tmp_path, wrong, layout, train=False)
