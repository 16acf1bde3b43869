"""Batches and precision: a real small model passes, one that leaks between the rows of a batch does not."""

import numpy as np
import pytest
import torch
from PIL import Image

from phenolip.eval.invariance import LIMITS, encoding_invariance
from phenolip.inference.encoder import Encoder
from phenolip.inference.encoding import TextCounts

IMAGES = [Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)) for seed in range(12)]
TEXTS = ["cataract", "drusen", "scoliosis", "a large head", "cataract"]


def test_a_small_model_passes_and_stays_as_it_is(tiny_model_dir):
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    found = encoding_invariance(encoder, IMAGES, TEXTS)
    assert found["passes"] and found["num_images"] == 12 and found["num_texts"] == 4
    assert set(found["variants"]) == set(LIMITS)
    assert found["variants"]["float64"]["largest_change"] < 1e-5
    assert encoder.model.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in encoder.model.state_dict().items())


class LeakyEncoder:
    """Subtracts the mean of the batch, as batch statistics in use would."""

    name = "leaky"

    def __init__(self, is_leaky):
        self.model, self.is_leaky, self.counts = torch.nn.Linear(4, 3), is_leaky, TextCounts()

    def encode_images(self, images, batch_size=5):
        rows = np.stack([np.asarray(image, np.float32)[:2, :2, 0].ravel() / 255 for image in images])
        parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        return np.concatenate([part - part.mean(axis=0) * self.is_leaky for part in parts])

    def encode_texts(self, texts, batch_size=5):
        return np.stack([[len(text) / 10, 1.0, 0.5, 0.2] for text in texts]).astype(np.float32)


@pytest.mark.parametrize("is_leaky", [False, True])
def test_rows_that_depend_on_their_batch_are_found(is_leaky):
    found = encoding_invariance(LeakyEncoder(is_leaky), IMAGES, TEXTS)
    variant = found["variants"]["batch_size"]
    assert variant["passes"] == found["passes"] == (not is_leaky)
    assert (variant["largest_change"] > 0.01) == is_leaky


def test_what_has_no_weights_is_left_out():
    assert "omitted" in encoding_invariance(object(), IMAGES, TEXTS)
