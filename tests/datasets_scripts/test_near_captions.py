"""Near captions: the whole against a brute-force double loop, on captions of every degree of resemblance."""

import random

import pytest

from phenolip.datasets_scripts.near_captions import jaccard, near_captions, shingles

WORDS = (
    "axial coronal ct mr image of the chest brain liver shows a small large mass lesion effusion arrow left".split()
)


def edited_captions(number, seed):
    """Captions made from few by replacing, dropping and adding some words."""
    rng = random.Random(seed)
    bases = [random.Random(base).choices(WORDS, k=120) for base in range(6)]
    captions = []
    for _ in range(number):
        words = list(rng.choice(bases))
        for _ in range(rng.randrange(8)):
            place = rng.randrange(len(words))
            words[place : place + 1] = rng.choice([[], [rng.choice(WORDS)], [words[place], rng.choice(WORDS)]])
        captions.append(rng.choice([" ", "  "]).join(words) + rng.choice(["", ".", "!"]))
    return captions


def brute_force(left, right, min_jaccard):
    left, right = ([shingles(caption) for caption in captions] for captions in (left, right))
    pairs = ((i, j, jaccard(one, other)) for i, one in enumerate(left) for j, other in enumerate(right))
    return [pair for pair in pairs if pair[2] >= min_jaccard]


def rows(found):
    return list(zip(*(values.tolist() for values in found), strict=True))


@pytest.mark.parametrize("min_jaccard", [0.8, 0.9, 1.0])
def test_no_pair_of_the_brute_force_is_missed_and_none_is_added(min_jaccard, monkeypatch):
    monkeypatch.setattr("phenolip.datasets_scripts.near_captions._BATCH", 37)
    left, right = edited_captions(150, 1), edited_captions(120, 2)
    expected = brute_force(left, right, min_jaccard)
    assert len(expected) > 50 and any(index < 1 for *_, index in expected) == (min_jaccard < 1)
    assert rows(near_captions(left, right, min_jaccard=min_jaccard)) == expected
    within = [pair for pair in brute_force(left, left, min_jaccard) if pair[0] < pair[1]]
    assert rows(near_captions(left, min_jaccard=min_jaccard)) == within


def test_recall_below_the_default_is_what_the_docstring_says():
    left, right = edited_captions(300, 3), edited_captions(300, 4)
    expected, found = brute_force(left, right, 0.6), rows(near_captions(left, right, min_jaccard=0.6))
    assert set(found) <= set(expected) and len(found) > 0.99 * len(expected)


def test_case_punctuation_and_spaces_do_not_matter_and_short_captions_are_compared_whole():
    assert rows(near_captions(["Chest X-ray."], ["chest  x ray", "chest x-ray 2"])) == [(0, 0, 1.0)]


def test_nothing_is_near_to_what_has_no_words():
    assert rows(near_captions(["", "!?", "a"], ["", "...", "b"])) == []
    assert rows(near_captions([], ["a"])) == rows(near_captions([])) == []


def test_captions_of_any_script():
    caption = "左胸部のX線写真では、少量の胸水を認める。"
    assert rows(near_captions([caption], [caption, caption[::-1]])) == [(0, 0, 1.0)]
