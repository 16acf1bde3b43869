import numpy as np
import pytest
import torch
from PIL import Image

from phenolip.ablation.stored_features import StoredFeatureEncoder
from phenolip.exceptions import DataError
from phenolip.inference.encoder import Encoder

TEXTS = ["red square", "odd shape", "red square", "a much longer caption about a square"]


@pytest.fixture
def images(tmp_path):
    paths = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return [*paths, paths[0]]


def stored(tiny_model_dir, folder, **kinds):
    return StoredFeatureEncoder(Encoder.from_pretrained(tiny_model_dir, "cpu"), folder, **kinds)


@pytest.mark.parametrize("kept", [True, False])
def test_embeddings_are_those_of_the_encoder(tiny_model_dir, images, tmp_path, kept):
    plain = Encoder.from_pretrained(tiny_model_dir, "cpu")
    encoder = stored(tiny_model_dir, tmp_path / "features", images=kept, texts=kept)
    for _ in range(2):  # encoded, then looked up
        assert np.allclose(encoder.encode_images(images), plain.encode_images(images), atol=1e-6)
        assert np.allclose(encoder.encode_texts(TEXTS), plain.encode_texts(TEXTS), atol=1e-6)
    assert (tmp_path / "features").exists() == kept
    assert encoder.has_images and encoder.name == plain.name


def test_a_second_model_with_the_same_towers_runs_no_tower(tiny_model_dir, images, tmp_path):
    kinds = {"images": True, "texts": True}
    stored(tiny_model_dir, tmp_path / "features", **kinds).encode_images(images)
    stored(tiny_model_dir, tmp_path / "features", **kinds).encode_texts(TEXTS)
    plain = Encoder.from_pretrained(tiny_model_dir, "cpu")
    with torch.no_grad():
        for side in (plain.model.text_model, plain.model.vision_model):
            for parameter in side.projection.parameters():
                parameter.add_(0.1)
    encoder = StoredFeatureEncoder(plain, tmp_path / "features", **kinds)
    expected = plain.encode_images(images), plain.encode_texts(TEXTS)
    for side in (plain.model.text_model, plain.model.vision_model):
        side.tower.forward = None  # a call would fail
    assert np.allclose(encoder.encode_images(images), expected[0], atol=1e-6)
    assert np.allclose(encoder.encode_texts(TEXTS), expected[1], atol=1e-6)


def test_another_tower_is_not_mixed_up(tiny_model_dir, images, tmp_path):
    kinds = {"images": True, "texts": True}
    stored(tiny_model_dir, tmp_path / "features", **kinds).encode_images(images)
    other = Encoder.from_pretrained(tiny_model_dir, "cpu")
    with torch.no_grad():
        next(other.model.vision_model.tower.parameters()).add_(0.5)
    found = StoredFeatureEncoder(other, tmp_path / "features", **kinds).encode_images(images)
    assert np.allclose(found, other.encode_images(images), atol=1e-6)


def test_nothing_to_encode_is_refused(tiny_model_dir, tmp_path):
    encoder = stored(tiny_model_dir, tmp_path, images=True, texts=True)
    for encode in (encoder.encode_images, encoder.encode_texts):
        with pytest.raises(DataError, match="At least one"):
            encode([])
