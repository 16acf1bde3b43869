"""The step: back ends by name, files that cannot be used, order, and the command."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
from PIL import Image, ImageDraw

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError
from phenolip.phenokg import detect_subfigures
from phenolip.phenokg.detect_subfigures import DetectConfig, run
from phenolip.phenokg.record_files import find_images
from phenolip.phenokg.records import Drop, ImageFile, SubfigureBoxes

TWO = [(0, 0, 100, 90), (110, 0, 210, 90)]


def two_images():
    image = Image.new("RGB", (210, 90), "white")
    draw = ImageDraw.Draw(image)
    for number, (x0, y0, x1, y1) in enumerate(TWO):
        for row in range(y0, y1):
            draw.line((x0, row, x1 - 1, row), fill=(60 + row, 60 + 80 * number + row // 2, 150 - row))
    return image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    two_images().save(tmp_path / "a.png")
    two_images().save(tmp_path / "b" / "c.jpg", quality=90)
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "b" / "c.jpg").read_bytes()[:400])
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (300, 300)).save(tmp_path / "large.png")
    return tmp_path


def test_every_file_gives_boxes_or_a_drop_in_order(folder):
    config = DetectConfig(max_pixels=50_000, batch_size=2)
    earlier = Drop("other", "x", "reason", "Detail.")
    files = [
        earlier,
        *find_images(folder),
        ImageFile(str(folder / "b"), "../a.png"),
        ImageFile(str(folder), "gone.png"),
    ]
    made = list(run(files, config))
    assert made[0] is earlier
    keys = [one.file_name if isinstance(one, SubfigureBoxes) else one.key for one in made[1:]]
    assert keys == [file.path for file in files[1:]]
    boxes = {one.file_name: list(one.boxes) for one in made if isinstance(one, SubfigureBoxes)}
    assert boxes == {"a.png": TWO, "b/c.jpg": boxes["b/c.jpg"], "one.png": [(0, 0, 1, 1)]}
    assert len(boxes["b/c.jpg"]) == 2
    reasons = {one.key: (one.step, one.reason) for one in made[1:] if isinstance(one, Drop)}
    assert reasons == {
        "cut.jpg": ("detect_subfigures", "unreadable_image"),
        "text.png": ("detect_subfigures", "unreadable_image"),
        "large.png": ("detect_subfigures", "too_large_image"),
        "../a.png": ("detect_subfigures", "outside_folder"),
        "gone.png": ("detect_subfigures", "unreadable_image"),
    }


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    two_images().save(outside)
    os.symlink(outside, folder / "link.png")
    (made,) = run([ImageFile(str(folder), "link.png")], DetectConfig())
    assert made.reason == "outside_folder"


def test_a_back_end_is_loaded_by_name_and_alone(folder, monkeypatch):
    loaded = []

    def load_detector(config):
        loaded.append(config)
        return lambda images: [[(0, 0, image.width // 2, image.height)] for image in images]

    module = SimpleNamespace(load_detector=load_detector)
    monkeypatch.setitem(sys.modules, "phenolip.phenokg.subfigures.halves", module)
    monkeypatch.setitem(detect_subfigures.BACKENDS, "halves", "halves")
    config = DetectConfig(backend="halves")
    assert [one.boxes for one in run([ImageFile(str(folder), "a.png")], config)] == [((0, 0, 105, 90),)]
    assert loaded == [config]


def test_only_unreadable_images_ask_nothing_of_the_back_end(folder):
    (made,) = run([ImageFile(str(folder), "text.png")], DetectConfig())
    assert isinstance(made, Drop)


def test_wrong_settings():
    with pytest.raises(ConfigurationError, match="Unknown `backend` 'layuot'. Close: 'layout'."):
        DetectConfig(backend="layuot")
    with pytest.raises(ConfigurationError, match="`max_pixels` must be 1 or more, got 0."):
        DetectConfig(max_pixels=0)
    with pytest.raises(ConfigurationError, match="`batch_size` must be at least 1, got 0."):
        DetectConfig(batch_size=0)


def test_the_command(folder):
    output = folder / "found.jsonl"
    code = main(
        ["kg", "run", "detect_subfigures", "--input", str(folder), "--output", str(output), "--backend", "layout"]
    )
    assert code == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows[0] == {"file_name": "a.png", "boxes": [list(box) for box in TWO]}
    drops = [json.loads(line) for line in (folder / "found.drops.jsonl").read_text().splitlines()]
    assert {drop["key"] for drop in drops} == {"cut.jpg", "text.png"}
