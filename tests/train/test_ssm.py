"""MedFILIP's equations 4 and 5: vectors worked out by hand, gates, calibration, empty rows, permutations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from phenolip.exceptions import ConfigurationError
from phenolip.train.targets.owned_texts import largest_of_own, own_texts, owners_of
from phenolip.train.targets.ssm import SemanticSimilarity, mean_cosine, semantic_similarity_matrix

# Three texts at 0, 60 and 20 degrees: two of the first image, one of the second; pneumonia, effusion, pneumonia.
ANGLES = torch.tensor([0.0, 60.0, 20.0]).deg2rad()
TEXTS = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
OWNER, CATEGORIES = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])


def matrix(similarity, texts=TEXTS, owner=OWNER, categories=CATEGORIES, num_images=2):
    return semantic_similarity_matrix(similarity(texts, categories), owner, num_images)


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("none", [[1, 1, 0.9397], [0.9397, 0.7660, 1]]),
        ("category", [[1, 1, 0.9397], [0.9397, 0, 1]]),
    ],
)
@pytest.mark.parametrize("calibration", ["none", "clamp"])
def test_three_texts_of_two_images(gate, expected, calibration):
    found = matrix(SemanticSimilarity(gate, calibration))
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=5e-5)
    assert (found[own_texts(OWNER, 2)] == 1).all()


def test_affine_moves_the_floor_to_zero_and_one_stays():
    floor = mean_cosine(TEXTS.numpy())
    pairs = [math.cos(math.radians(angle)) for angle in (60, 20, 40)]
    assert floor == pytest.approx(sum(pairs) / 3, abs=1e-6)
    found = matrix(SemanticSimilarity("none", "affine", floor=floor))
    stretched = [max(0.0, (value - floor) / (1 - floor)) for value in pairs]
    expected = [[1, 1, stretched[1]], [stretched[1], stretched[2], 1]]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_opposite_texts_are_below_zero_only_where_nothing_is_calibrated():
    texts, owner = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1])
    for calibration, low in (("none", -1.0), ("clamp", 0.0), ("affine", 0.0)):
        found = matrix(SemanticSimilarity("none", calibration), texts, owner, None)
        assert found.tolist() == [[1.0, low], [low, 1.0]]


def test_the_gate_by_ancestors_opens_for_relatives_and_equals():
    related = np.array([[False, False, True], [False, False, False], [True, False, False]])
    gate = SemanticSimilarity("hpo_ancestor", related=related)
    found = gate(TEXTS, torch.tensor([0, 1, 2]))
    assert found[0, 2] == pytest.approx(math.cos(math.radians(20)), abs=1e-6) and found[1].tolist() == [0, 1, 0]
    with pytest.raises(ConfigurationError, match="`related` must be given for the gate hpo_ancestor"):
        SemanticSimilarity("hpo_ancestor")
    with pytest.raises(ConfigurationError, match="`floor` must be at least -1 and below 1, got 1.0"):
        SemanticSimilarity(calibration="affine", floor=1.0)


def random_batch(seed=0, counts=(2, 0, 3, 1, 0, 4), width=5):
    generator = torch.Generator().manual_seed(seed)
    owner = torch.tensor([image for image, count in enumerate(counts) for _ in range(count)])
    texts = F.normalize(torch.randn(len(owner), width, generator=generator), dim=1)
    return texts, owner, torch.randint(3, (len(owner),), generator=generator), len(counts)


@pytest.mark.parametrize("gate", ["none", "category"])
def test_equals_the_equations_text_by_text_and_an_image_without_texts_has_zeros(gate):
    texts, owner, categories, num_images = random_batch()
    found = matrix(SemanticSimilarity(gate, "none"), texts, owner, categories, num_images)
    for image in range(num_images):
        own = [r for r in range(len(owner)) if owner[r] == image]
        for j in range(len(owner)):
            shut = [gate == "category" and categories[r] != categories[j] for r in own]
            values = [0.0 if s else float(texts[r] @ texts[j]) for r, s in zip(own, shut, strict=True)]
            assert found[image, j].item() == pytest.approx(max(values, default=0.0), abs=1e-6)


def test_moves_with_images_and_texts():
    texts, owner, categories, num_images = random_batch(seed=1)
    similarity = SemanticSimilarity("category", "affine", floor=0.1)
    found = matrix(similarity, texts, owner, categories, num_images)
    images = torch.tensor([3, 0, 5, 1, 4, 2])  # the image that comes to each place
    place = torch.argsort(images)
    moved_owner, order = place[owner].sort(stable=True)
    moved = matrix(similarity, texts[order], moved_owner, categories[order], num_images)
    torch.testing.assert_close(moved, found[images][:, order], rtol=0, atol=1e-6)


def test_slots_are_read_row_by_row():
    mask = torch.tensor([[True, False, True], [False, False, False], [True, False, False]])
    assert owners_of(mask).tolist() == [0, 0, 2]
    assert largest_of_own(-torch.ones(3, 3), owners_of(mask), 3).tolist() == [[-1] * 3, [0] * 3, [-1] * 3]


def test_mean_cosine_equals_the_pairs_and_needs_two():
    texts = random_batch()[0].numpy()
    pairs = [texts[i] @ texts[j] for i in range(len(texts)) for j in range(len(texts)) if i != j]
    assert mean_cosine(texts) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert mean_cosine(texts[:1]) == 0.0
