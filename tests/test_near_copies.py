"""Hashes that are near: against a plain double loop, and against what `imagehash` itself says."""

import doctest

import imagehash
import numpy as np
import pytest
from PIL import Image

from phenolip import near_copies
from phenolip.near_copies import fold_caption, near_hashes, perceptual_hash


def crowded_hashes(number, seed):
    """Hashes around few centres, a few bits from them, some equal."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 2**64, 4, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (number, 3), dtype=np.uint64)
    return rng.choice(centres, number) ^ flips[:, 0] ^ flips[:, 1] ^ flips[:, 2]


@pytest.mark.parametrize("block", [(16, 4096), (3, 7), (1, 1)])
@pytest.mark.parametrize("max_distance", [-1, 0, 4, 64])
def test_pairs_equal_the_plain_double_loop(block, max_distance, monkeypatch):
    monkeypatch.setattr(near_copies, "_BLOCK", block)
    left, right = crowded_hashes(23, 1), crowded_hashes(31, 2)
    distances = [[int(one ^ other).bit_count() for other in right] for one in left]
    expected = [(i, j, d) for i, row in enumerate(distances) for j, d in enumerate(row) if d <= max_distance]
    assert list(zip(*map(np.ndarray.tolist, near_hashes(left, right, max_distance=max_distance)), strict=True)) == (
        expected
    )
    within = [(i, j, int(left[i] ^ left[j]).bit_count()) for i in range(23) for j in range(i + 1, 23)]
    found = near_hashes(left, max_distance=max_distance)
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == [p for p in within if p[2] <= max_distance]


def test_none_are_near_none():
    empty = np.zeros(0, dtype=np.uint64)
    assert [len(places) for places in near_hashes(empty, max_distance=64)] == [0, 0, 0]
    assert [len(places) for places in near_hashes(empty, crowded_hashes(3, 0), max_distance=64)] == [0, 0, 0]


def test_the_hash_reads_as_imagehash_prints_it():
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((64, 48))
    assert f"{perceptual_hash(picture):016x}" == str(imagehash.phash(picture))
    small = picture.resize((40, 30))
    assert (perceptual_hash(picture) ^ perceptual_hash(small)).bit_count() <= 4


def test_captions_fold():
    assert fold_caption(" A  CT\nScan ") == fold_caption("a ct scan") == "a ct scan"


def test_example():
    assert doctest.testmod(near_copies).failed == 0
