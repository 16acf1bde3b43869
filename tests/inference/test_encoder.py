"""Encoder: order, length, batches, modes and what it can load."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor

TEXTS = ["arachnodactyly", "a", "low-set ears of the face", "a", "cataract " * 40]


@pytest.fixture(scope="module")
def encoder(tiny_model_dir):
    return Encoder.from_pretrained(tiny_model_dir, "cpu")


def pictures(number):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(number)]


def test_texts_keep_their_order_in_any_batch(encoder):
    embeds = encoder.encode_texts(TEXTS, batch_size=2)
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(embeds[1], embeds[3])
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode_texts([text])[0], embeds[row], atol=1e-6)


def test_images_equal_the_model_called_directly(encoder, tiny_model_dir):
    images = pictures(5)
    embeds = encoder.encode_images(images, batch_size=2)
    model = PhenoLIPModel.from_pretrained(tiny_model_dir).eval()
    pixels = PhenoLIPProcessor.from_pretrained(tiny_model_dir)(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        np.testing.assert_allclose(embeds, model.get_image_features(pixels).numpy(), atol=1e-6)
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)


def test_files_and_rows_of_a_dataset_are_read(encoder, tmp_path):
    (image,) = pictures(1)
    path = tmp_path / "image.png"
    image.save(path)
    rows = [image, str(path), {"bytes": path.read_bytes(), "path": None}]
    embeds = encoder.encode_images(rows)
    np.testing.assert_allclose(embeds, np.tile(embeds[:1], (3, 1)), atol=1e-6)


def test_training_mode_comes_back(encoder):
    encoder.model.train()
    encoder.model.text_model.eval()
    encoder.encode_texts(["a"])
    assert encoder.model.training and not encoder.model.text_model.training
    encoder.model.eval()


def test_text_model_alone(encoder, tmp_path):
    encoder.model.text_model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    alone = Encoder.from_pretrained(tmp_path, "cpu")
    np.testing.assert_allclose(alone.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    assert not alone.has_images and alone.logit_scale == 1.0
    with pytest.raises(ConfigurationError, match="encodes text only"):
        alone.encode_images(pictures(1))


def test_nobody_is_asked_to_run_code_of_the_folder(encoder, tiny_model_dir, tmp_path, monkeypatch):
    encoder.model.text_model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    Encoder.from_pretrained(tiny_model_dir, "cpu")
    Encoder.from_pretrained(tmp_path, "cpu")


@pytest.mark.parametrize("pooling", [None, "mean", "cls", "max"])
def test_sentence_encoder_keeps_its_pooling(encoder, tmp_path, pooling):
    tower = BertModel(BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).eval()
    tower.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    if pooling:
        (tmp_path / "1_Pooling").mkdir()
        names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
        fields = {f"pooling_mode_{field}": name == pooling for name, field in names.items()}
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(fields))
    inputs = encoder.tokenizer(["cataract"], return_tensors="pt")
    with torch.no_grad():
        tokens = tower(**inputs).last_hidden_state[0]
    expected = {"cls": tokens[0], "max": tokens.amax(0)}.get(pooling, tokens.mean(0))
    embeds = Encoder.from_pretrained(tmp_path, "cpu").encode_texts(["cataract"])
    np.testing.assert_allclose(embeds[0], (expected / expected.norm()).numpy(), atol=1e-5)


def test_two_poolings_at_once_are_refused(encoder, tmp_path):
    BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    stated = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(stated))
    with pytest.raises(ConfigurationError, match="must be true"):
        Encoder.from_pretrained(tmp_path)


def test_without_a_limit_of_the_tokenizer_the_tower_sets_it(encoder, tiny_model_dir):
    unlimited = Encoder.from_pretrained(tiny_model_dir, "cpu")
    unlimited.tokenizer.model_max_length = int(1e30)
    assert unlimited.max_length == 64
    np.testing.assert_allclose(unlimited.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)


def test_what_cannot_be_encoded_is_named(encoder, tmp_path):
    with pytest.raises(DataError, match="At least one text"):
        encoder.encode_texts([])
    with pytest.raises(DataError, match="At least one image"):
        encoder.encode_images([])
    with pytest.raises(DataError, match=r"missing\.png"):
        encoder.encode_images([str(tmp_path / "missing.png")])
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        Encoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ConfigurationError, match="'t5'"):
        Encoder.from_pretrained(tmp_path)
