"""Vision towers as functions of images."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import ViTConfig, ViTModel

from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image
from phenolip.inference.image_tower import load_image_tower
from phenolip.phenokg.figures.drawn_figures import KINDS, draw_figure
from phenolip.phenokg.figures.medical_head import load_head, score_images


def pictures():
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (40, 60 + n, 3), dtype=np.uint8)) for n in range(3)]


def test_the_default_tower_is_that_of_the_default_head():
    tower = load_image_tower()
    assert (tower.name, tower.fingerprint) == (load_head().tower, load_head().fingerprint)
    features = tower.encode(pictures())
    assert features.shape == (3, 1280) and features.dtype == np.float32
    np.testing.assert_allclose(features[1:2], tower.encode(pictures()[1:2]), atol=1e-4)


def test_any_tower_of_a_folder(tmp_path):
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37, image_size=32, patch_size=16
    )
    ViTModel(config).save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path, image_size=32)
    assert tower.encode(pictures()).shape == (3, 32)
    assert tower.fingerprint != load_head().fingerprint


def test_a_tower_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="must be a Hub id that can be reached or a folder"):
        load_image_tower(tmp_path / "none")


@pytest.mark.slow
@pytest.mark.skipif("PHENOLIP_TEST_DATA" not in os.environ, reason="PHENOLIP_TEST_DATA names the folder of real data")
def test_the_default_head_on_real_figures_that_it_never_saw_and_on_other_drawn_ones():
    tower, head = load_image_tower(), load_head()
    paths = sorted(Path(os.environ["PHENOLIP_TEST_DATA"], "compound", "medicat_sample", "figures").glob("*.png"))
    assert len(paths) == 10
    assert (score_images(tower.encode([decode_image(path) for path in paths]), head) > 0.9).all()
    drawn = [draw_figure(kind, 0, seed=7) for kind in KINDS]
    assert (score_images(tower.encode(drawn), head) < 0.5).mean() > 0.9
