"""`phenolip explain` from its arguments to its files."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import explain as command
from phenolip.exceptions import UnknownTermError


def call(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "eye.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_picture_and_numbers(image, tiny_model_dir, tmp_path, capsys):
    options = ("--model", tiny_model_dir, "--output", tmp_path / "why", "--device", "cpu")
    assert call(image, "--term", "cataract", "--method", "occlusion", "--sanity", *options) == 0
    record = json.loads((tmp_path / "why" / "eye_HP0000518.json").read_text())
    assert Image.open(tmp_path / "why" / "eye_HP0000518.png").width > 900
    assert record["hpo_id"] == "HP:0000518" and np.shape(record["map"]["values"]) == (32, 32)
    assert {row["relation"] for row in record["neighbours"]} == {"parent", "child", "sibling"}
    assert -1 <= record["random_weights_spearman"] <= 1
    printed = capsys.readouterr().out
    assert "not for diagnosis" in printed and "eye_HP0000518.png" in printed


def test_unknown_terms_are_one_sentence(image, tiny_model_dir, tmp_path):
    with pytest.raises(UnknownTermError, match="got 'no such thing'"):
        call(image, "--term", "no such thing", "--model", tiny_model_dir, "--output", tmp_path / "a.png")


def test_a_file_or_a_folder():
    assert str(command.picture_path("a/b.png", "eye.jpg", "HP:0000518")) == "a/b.png"
    assert str(command.picture_path("a", "x/eye.jpg", "HP:0000518")) == "a/eye_HP0000518.png"
