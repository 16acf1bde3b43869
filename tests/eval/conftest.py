"""Encoders without a network and pairs without a file."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from phenolip.eval.evaluators.base import EvaluationPairs, first_occurrences
from phenolip.near_copies import fold_caption


class HashEncoder:
    """Unit-norm vectors drawn from a hash of the item: equal items get equal vectors. Counts what it encodes."""

    def __init__(self, width=16):
        self.width = width
        self.num_images = self.num_texts = 0

    def vector(self, item):
        seed = int.from_bytes(hashlib.sha256(str(item).encode()).digest()[:8], "big")
        draw = np.random.default_rng(seed).normal(size=self.width)
        return (draw / np.linalg.norm(draw)).astype(np.float32)

    def encode_images(self, images):
        self.num_images += len(images)
        return np.stack([self.vector(image) for image in images])

    def encode_texts(self, texts):
        self.num_texts += len(texts)
        return np.stack([self.vector(text) for text in texts])


@pytest.fixture
def encoder():
    return HashEncoder()


def make_pairs(images, captions, labels, candidates):
    """Pairs from plain lists; `images` are strings that name the picture, `labels` are lists of candidate names."""
    image_codes, first = first_occurrences(images)
    return EvaluationPairs(
        images=[images[row] for row in first],
        image_codes=image_codes,
        captions=tuple(captions),
        caption_codes=first_occurrences(map(fold_caption, captions))[0],
        labels=tuple(np.array([candidates.index(name) for name in names], dtype=np.intp) for names in labels),
        candidate_ids=tuple(f"HP:{number:07d}" for number in range(len(candidates))),
        candidate_names=tuple(candidates),
        row_ids=tuple(f"row{number}" for number in range(len(captions))),
        sha256=tuple(hashlib.sha256(image.encode()).hexdigest() for image in images),
    )


@pytest.fixture
def helpers():
    return SimpleNamespace(make_pairs=make_pairs, HashEncoder=HashEncoder)
