"""Training the glyph reader: samples are what was drawn, and the weights come out as they are read."""

import numpy as np
import pytest
from PIL import Image

from phenolip.phenokg.alignment.glyph_candidates import PATCH_PX
from phenolip.phenokg.alignment.glyph_reader import CHARACTERS, load_weights
from phenolip.phenokg.alignment.train_glyphs import draw_samples, joined, main

pytest.importorskip("sklearn")


@pytest.fixture
def materials(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for n in range(5):
        soft = np.random.default_rng(n).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(soft).resize((120, 120)).save(images / f"{n}.png")
    return images, pytest.importorskip("matplotlib.font_manager").findfont("DejaVu Sans")


def test_samples_are_drawn_by_the_seed_and_hold_letters_and_others(materials):
    images, font = materials
    paths = sorted(images.iterdir())
    patches, classes = draw_samples(paths, [font], 12, 0)
    again = draw_samples(paths, [font], 12, 0)
    assert (patches == again[0]).all() and (classes == again[1]).all()
    assert patches.shape == (len(classes), PATCH_PX**2) and set(classes) <= set(range(len(CHARACTERS) + 1))
    assert 0.1 < (classes < len(CHARACTERS)).mean() < 0.95


def test_the_command_writes_weights_that_can_be_read(materials, tmp_path, capsys):
    images, font = materials
    output = tmp_path / "made" / "glyphs.npz"
    assert main(["--images", str(images), "--fonts", font, "--number", "20", "--output", str(output)]) == 0
    assert "accuracy held out" in capsys.readouterr().err
    weights = load_weights(str(output))
    assert weights["hidden"].shape[0] == PATCH_PX**2 and weights["last"].shape[1] == len(CHARACTERS) + 1


def test_joined_networks_give_the_mean_of_their_logits():
    rng = np.random.default_rng(0)

    def network(width):
        shapes = {"hidden": (9, width), "hidden_bias": (width,), "last": (width, 4), "last_bias": (4,)}
        return {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}

    def logits(weights, patches):
        weights = {name: array.astype(np.float32) for name, array in weights.items()}
        hidden = np.maximum(patches @ weights["hidden"] + weights["hidden_bias"], 0)
        return hidden @ weights["last"] + weights["last_bias"]

    one, other, patches = network(5), network(7), rng.random((6, 9), dtype=np.float32)
    expected = (logits(one, patches) + logits(other, patches)) / 2
    np.testing.assert_allclose(logits(joined(one, other), patches), expected, atol=0.02)
