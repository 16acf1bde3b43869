"""Versions with known holes are refused where files of strangers are opened, and nowhere else."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from phenolip import floors
from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image


@pytest.fixture
def old(monkeypatch):
    monkeypatch.setattr(floors, "version", lambda package: "12.1.9+cpu")
    floors.require_floor.cache_clear()
    yield
    floors.require_floor.cache_clear()


def test_an_old_pillow_opens_no_file(old, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ConfigurationError, match=r"`pillow` must be 12.2 or newer.*got 12.1.9\+cpu"):
        decode_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "numbers"), [("12.2", (12, 2)), ("12.0", (12,)), ("2.13.0+cpu", (2, 13)), ("5.10rc1", (5, 10)), ("x", ())]
)
def test_numbers_of_versions(text, numbers):
    assert floors._numbers(text) == numbers


def test_what_is_installed_passes_and_a_missing_library_is_left_to_its_import(monkeypatch):
    for package in floors.FLOORS:
        floors.require_floor(package)
    monkeypatch.setitem(floors.FLOORS, "no-such-package", "1")
    assert floors.require_floor("no-such-package") is None


def test_the_floors_are_those_of_the_package():
    setup = (Path(__file__).parents[1] / "setup.py").read_text()
    assert [f'"{package}>={floor}"' in setup for package, floor in floors.FLOORS.items()] == [True] * 6


def test_no_library_is_imported():
    code = "import sys, phenolip.floors as f; [f.require_floor(p) for p in f.FLOORS]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
