"""Features on disk: read once, found again, never of another file."""

import hashlib
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figures import image_features
from phenolip.phenokg.figures.image_features import FeatureStore, ImageTower, ReadImage, read_image_file
from phenolip.phenokg.records import Drop, ImageFile


class Counting:
    """Gives the mean colour of each image, and counts the images it is asked for."""

    def __init__(self):
        self.num = 0
        self.tower = ImageTower("mean", "0123456789abcdef", self)

    def __call__(self, images):
        self.num += len(images)
        return np.stack([np.asarray(image, np.float32).mean(axis=(0, 1)) for image in images])


@pytest.fixture
def folder(tmp_path):
    for shade in range(10):
        Image.new("RGB", (8, 8), (shade, 0, 100)).save(tmp_path / f"{shade}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    return tmp_path


def files(folder, *names):
    return [ImageFile(str(folder), name) for name in names]


def test_each_distinct_file_is_encoded_once(folder, tmp_path):
    counting, store = Counting(), FeatureStore(tmp_path / "features", "0123456789abcdef")
    names = ["3.png", "copy.png", "7.png", "1.png", "9.png"]
    added = list(store.add(files(folder, *names), counting.tower, batch_size=2))
    assert [file.path for file, _ in added] == names
    hashes = [sha256 for _, sha256 in added]
    assert hashes == [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    assert store.load(hashes)[:, 0].tolist() == [3, 3, 7, 1, 9] and counting.num == 4
    again = list(
        FeatureStore(tmp_path / "features", "0123456789abcdef").add(files(folder, "9.png", "0.png"), counting.tower)
    )
    assert counting.num == 5 and again[0][1] == hashes[-1]
    assert list((tmp_path / "features").iterdir()) == [store.folder]


def test_a_run_that_was_stopped_goes_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(image_features, "_ROWS_PER_PART", 2)
    counting, store = Counting(), FeatureStore(tmp_path / "features", "0123456789abcdef")
    asked = files(folder, *(f"{shade}.png" for shade in range(10)))
    adding = store.add(asked, counting.tower, batch_size=2)
    for _ in range(5):  # a third batch is encoded, and what it gave is on disk
        next(adding)
    adding.close()
    assert counting.num == 6 and len(list(store.folder.glob("part-*.parquet"))) == 3
    added = list(store.add(asked, counting.tower, batch_size=2))
    assert counting.num == 10
    assert store.load([sha256 for _, sha256 in added])[:, 0].tolist() == list(range(10))


def test_features_that_are_not_there(tmp_path, folder):
    store = FeatureStore(tmp_path / "features", "0123456789abcdef")
    with pytest.raises(DataError, match="lacks the features of 1 files"):
        store.load(["ab"])
    list(store.add(files(folder, "1.png"), Counting().tower))
    (store.folder / "part-00001.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match="part-00001.parquet cannot be read: .* delete it and run again"):
        list(store.add(files(folder, "2.png"), Counting().tower))
    pq.write_table(pa.table({"name": ["a"]}), store.folder / "part-00001.parquet")
    with pytest.raises(DataError, match="part-00001.parquet cannot be read: No match"):
        store.load(["ab"])
    with pytest.raises(DataError, match="`fingerprint` must be 8 to 64 hexadecimal digits, got '../out'"):
        FeatureStore(tmp_path, "../out")


def test_files_that_cannot_be_used(folder, tmp_path):
    inner = folder / "inner"
    inner.mkdir()
    (inner / "bad.png").write_bytes(b"no image")
    (inner / "link.png").symlink_to(folder / "1.png")
    os.mkfifo(inner / "pipe.png")
    Image.new("RGB", (50, 50)).save(inner / "large.png")
    reasons = {}
    for name in (
        "bad.png",
        "link.png",
        "pipe.png",
        "../1.png",
        str(folder / "1.png"),
        "none.png",
        "a\0b.png",
        "large.png",
    ):
        outcome = read_image_file(ImageFile(str(inner), name), max_pixels=1000)
        assert isinstance(outcome, Drop) and outcome.step == "filter_figures" and outcome.key == name
        reasons[name] = outcome.reason
    outside = dict.fromkeys(("link.png", "../1.png", str(folder / "1.png")), "outside_folder")
    damaged = dict.fromkeys(("bad.png", "pipe.png", "none.png", "a\0b.png"), "unreadable_image")
    assert reasons == outside | damaged | {"large.png": "too_large_image"}
    assert read_image_file(ImageFile(str(inner), "large.png"), max_bytes=10).reason == "too_large_image"
    assert isinstance(read_image_file(ImageFile(str(inner), "large.png")), ReadImage)


@pytest.mark.parametrize("shape", [(1,), (2, 3), (1, 0), (1, 2, 2)])
def test_a_tower_that_gives_no_row_an_image(folder, tmp_path, shape):
    tower = ImageTower("odd", "0123456789abcdef", lambda images: np.zeros(shape))
    with pytest.raises(ConfigurationError, match="`tower` odd must give a row of features for each image"):
        list(FeatureStore(tmp_path / "features", "0123456789abcdef").add(files(folder, "1.png"), tower))
