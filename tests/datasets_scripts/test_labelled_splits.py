"""Class-labelled sets in their published layouts, written here in small, and the real ones where they are at hand."""

import csv
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.class_folders import read_class_folders
from phenolip.datasets_scripts.image_tables import TableLayout, read_image_table, read_rows
from phenolip.datasets_scripts.labelled_images import ImageClass
from phenolip.datasets_scripts.labelled_splits import cut_groups, hashed_split, load_splits
from phenolip.datasets_scripts.medmnist_file import medmnist_splits, read_medmnist, read_member
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image

DATA = os.environ.get("PHENOLIP_TEST_DATA")


def classes(*names):
    return [ImageClass(name, (name,), (name,)) for name in names]


def write_npz(path, compressed, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def write_image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    found = {}
    for split, size in (("train", 40), ("val", 10), ("test", 12)):
        found[f"{split}_images"] = rng.integers(0, 256, (size, 6, 6, 3), dtype=np.uint8)
        found[f"{split}_labels"] = (np.arange(size) % 3)[:, None].astype(np.uint8)
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_a_medmnist_file_gives_its_pixels_and_labels(tmp_path, arrays, compressed):
    path = write_npz(tmp_path / "pathmnist_224.npz", compressed, **arrays)
    assert medmnist_splits(path) == ["train", "val", "test"]
    images = read_medmnist(path, "test", classes("a", "b", "c"))
    assert images.exclusive and images.codes.tolist() == [0, 1, 2] * 4
    assert np.array_equal(np.asarray(decode_image(images.images[7])), arrays["test_images"][7])
    assert isinstance(read_member(path, "train_images"), np.memmap)
    chosen = images.select([5, 0])
    assert chosen.codes.tolist() == [2, 0] and chosen.ids == ("test/5", "test/0")
    assert np.array_equal(np.asarray(chosen.images[0]), arrays["test_images"][5])


def test_several_labels_an_image_as_in_chestmnist(tmp_path, arrays):
    arrays["test_labels"] = np.eye(3, dtype=np.uint8)[[0] * 12] | np.eye(3, dtype=np.uint8)[np.arange(12) % 3]
    path = write_npz(tmp_path / "chestmnist.npz", True, **arrays)
    images = read_medmnist(path, "test", classes("a", "b", "c"))
    assert not images.exclusive and images.labels.sum(axis=0).tolist() == [12, 4, 4]
    with pytest.raises(DataError, match="no single one"):
        _ = images.codes


def test_hostile_files_give_one_sentence(tmp_path, arrays):
    known = classes("a", "b", "c")
    with pytest.raises(DataError, match="Python objects, which are never loaded"):
        pickled = {**arrays, "test_images": np.array([{"a": 1}], dtype=object)}
        read_medmnist(write_npz(tmp_path / "p.npz", True, **pickled), "test", known)
    with pytest.raises(DataError, match="from 0 to 1, got 0 to 2"):
        read_medmnist(write_npz(tmp_path / "l.npz", True, **arrays), "test", classes("a", "b"))
    with pytest.raises(DataError, match=r"must be \(N, H, W\)"):
        volumes = {**arrays, "test_images": np.zeros((12, 4, 4, 4), np.uint8)}
        read_medmnist(write_npz(tmp_path / "v.npz", True, **volumes), "test", known)
    with pytest.raises(DataError, match="must hold the array"):
        read_member(tmp_path / "l.npz", "more")
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="must be an .npz"):
        medmnist_splits(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(DataError, match="arrays such as train_images"):
        medmnist_splits(tmp_path / "y.npz")
    for compressed in (True, False):
        path = write_npz(tmp_path / "cut.npz", compressed, **arrays)
        with zipfile.ZipFile(path) as archive:
            offset = archive.getinfo("test_images.npy").header_offset
        damaged = bytearray(path.read_bytes())
        damaged[offset + 40 : offset + 90] = b"\0" * 50
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="test_images cannot be read"):
            read_medmnist(path, "test", known)


def test_folders_named_as_classes(tmp_path):
    for split in ("Training", "test"):
        for number, name in enumerate(("Cat A", "b")):
            write_image(tmp_path / split / name / "x.png", number)
    write_image(tmp_path / "test" / "other" / "y.png")
    (tmp_path / "test" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "outside.png").symlink_to(tmp_path / "Training" / "b" / "x.png")
    (tmp_path / "test" / "b" / "link.png").symlink_to(tmp_path / "Training" / "b" / "x.png")
    splits = load_splits(tmp_path, classes("cat a", "B"), {"kind": "folders"}, train=True)
    assert splits.test.ids == ("Cat A/x.png", "b/x.png") and splits.test.codes.tolist() == [0, 1]
    assert splits.test.dropped == {"folder is no class": 1, "not an image": 1, "link out of the folder": 1}
    assert splits.about["test"] == "test split" and "of the training split" in splits.about["validation"]
    with pytest.raises(DataError, match="the classes c have no image"):
        read_class_folders(tmp_path / "test", classes("cat a", "b", "c"))
    flat = load_splits(tmp_path / "test", classes("cat a", "b"), {"kind": "folders"}, train=False)
    assert len(flat.test) == 2 and flat.validation is None and flat.about["validation"] == "none"


def test_ham10000_as_it_is_published(tmp_path):
    with (tmp_path / "HAM10000_metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["lesion_id", "image_id", "dx"])
        for number in range(60):
            writer.writerow([f"HAM_{number // 3}", f"ISIC_{number}", "mel" if number % 6 < 3 else "nv"])
            write_image(tmp_path / f"HAM10000_images_part_{number % 2 + 1}" / f"ISIC_{number}.jpg", number)
        writer.writerow(["HAM_1", "../HAM10000_metadata", "mel"])
        writer.writerow(["HAM_1", "ISIC_0", "unknown"])
    layout = {"kind": "table", "file": "HAM10000_metadata.csv", "image": "image_id", "label": "dx"}
    layout |= {"group": "lesion_id", "suffix": ".jpg"}
    layout["folders"] = ["HAM10000_images_part_1", "HAM10000_images_part_2"]
    splits = load_splits(tmp_path, classes("mel", "nv"), layout, train=True)
    groups = [set(part.groups) for part in (splits.train, splits.validation, splits.test)]
    assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == 60
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert splits.test.file_hashes() is not None
    dropped = [part.dropped for part in (splits.train, splits.validation, splits.test)]
    assert sum(entry.get("image not found", 0) for entry in dropped) == 1
    assert sum(entry.get("label is no class", 0) for entry in dropped) == 1


def test_several_labels_in_a_field_and_a_column_a_class(tmp_path):
    for name in "abc":
        write_image(tmp_path / "images" / f"{name}.png")
    rows = [
        {"Image Index": "a.png", "Finding Labels": "Mass|Hernia"},
        {"Image Index": "b.png", "Finding Labels": "No Finding"},
        {"Image Index": "c.png", "Finding Labels": "Hernia"},
    ]
    layout = TableLayout(image="Image Index", label="Finding Labels", separator="|", folders=("images",))
    images = read_image_table(rows, tmp_path, classes("Hernia", "Mass"), layout)
    assert images.labels.tolist() == [[1, 1], [0, 0], [1, 0]] and not images.exclusive
    chexpert = [{"Path": "a.png", "Edema": "1.0", "Mass": "-1.0"}, {"Path": "b.png", "Edema": "", "Mass": "0"}]
    images = read_image_table(
        chexpert, tmp_path, classes("Edema", "Mass"), TableLayout(image="Path", folders=("images",))
    )
    assert images.labels.tolist() == [[1, -1], [0, 0]]
    with pytest.raises(ConfigurationError, match="must have the column 'Edema'; it has Finding Labels"):
        read_image_table(rows, tmp_path, classes("Edema"), TableLayout(image="Image Index"))


def test_tables_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DataError, match="a.jsonl line 2 is not JSON"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="line 1 must be an object, got list"):
        read_rows(tmp_path / "b.jsonl")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(ConfigurationError, match="`layout.kind` must be one of"):
        load_splits(tmp_path, classes("a"), {"kind": "dicom"}, train=False)
    with pytest.raises(ConfigurationError, match="Unknown field 'lable'"):
        load_splits(tmp_path, classes("a"), {"kind": "table", "file": "a.jsonl", "lable": "dx"}, train=False)


def test_groups_are_cut_whole_and_hashed_shares_hold(tmp_path, arrays):
    path = write_npz(tmp_path / "a.npz", True, **arrays)
    images = read_medmnist(path, "train", classes("a", "b", "c"))
    images = type(images)(**{**vars(images), "groups": tuple(f"case{row // 4}" for row in range(40))})
    rest, cut = cut_groups(images, 10)
    assert len(cut) == 12 and len(rest) == 28 and not set(rest.groups) & set(cut.groups)
    shares = [hashed_split(f"case {number}") for number in range(5000)]
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert shares.count(split) / 5000 == pytest.approx(share, abs=0.02)


@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_real_pneumoniamnist_has_no_test_split_and_reports_on_validation():
    path = Path(DATA, "pneumoniamnist", "pneumoniamnist.npz")
    splits = load_splits(path, classes("normal", "pneumonia"), {"kind": "medmnist"}, train=True)
    assert len(splits.test) == 524 and splits.test.labels.sum(axis=0).tolist() == [135, 389]
    assert len(splits.train) + len(splits.validation) == 3882 and "no test split" in splits.about["test"]


@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_real_medpix_columns():
    layout = {"kind": "table", "files": {"train": "train.jsonl", "val": "dev.jsonl"}, "group": "case_id"}
    splits = load_splits(Path(DATA, "medpix2"), classes("CT", "MR"), {**layout, "label": "modality"}, train=False)
    rows = [json.loads(line) for line in Path(DATA, "medpix2", "dev.jsonl").open()]
    assert len(splits.test) == len(rows) == 197 and len(set(splits.test.groups)) == 67
    assert not set(splits.test.groups) & set(splits.validation.groups)
    assert decode_image(splits.test.images[0]).size[0] > 0
