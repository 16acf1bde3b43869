"""Small open_clip checkpoints that are written from their names, and what open_clip gives for them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures" / "converted"
MODELS = ("biomedclip", "clip_quick_gelu", "timm_mean_mlp", "vit_bert_mean", "timm_head_custom_text")


def _maker():
    spec = importlib.util.spec_from_file_location("make_converted_fixtures", FIXTURES / "make_fixtures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fixtures():
    """The script that made the fixtures, as a module."""
    return _maker()


@pytest.fixture(scope="session")
def recorded():
    """Name of a model -> arrays that open_clip gave."""

    def read(name):
        found = json.loads((FIXTURES / name / "recorded.json").read_text())
        return {key: np.array(value) for key, value in found.items() if key != "open_clip_torch"}

    return read


@pytest.fixture(scope="session")
def checkpoints(fixtures, tmp_path_factory):
    """Name -> folder of a whole open_clip checkpoint. Read them only."""
    root = tmp_path_factory.mktemp("open_clip")
    return {name: fixtures.write_checkpoint(FIXTURES / name, root / name) for name in MODELS}


@pytest.fixture(scope="session")
def converted(checkpoints, tmp_path_factory):
    """Name -> PhenoLIP folder of that checkpoint. Read them only."""
    from phenolip.hub.convert import from_open_clip

    root = tmp_path_factory.mktemp("phenolip")
    for name, folder in checkpoints.items():
        from_open_clip(folder, root / name)
    return {name: root / name for name in checkpoints}
