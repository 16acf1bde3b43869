"""Duplicates and splits against a plain reference that compares every pair with every other."""

import random
from collections import Counter
from itertools import combinations

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import Drop, FigurePair, License
from phenolip.phenokg.split_pairs import SPLITS, SplitConfig, run


def pair(article="A", figure="f1", sha="s", phash="p", caption="c", **more):
    return FigurePair(
        article, figure, "a.png", sha, phash, 1, 1, 1, "", caption, caption, caption, (), License(), "", **more
    )


def different(article, figure, number, **more):
    return pair(article, figure, f"s{number}", f"p{number}", f"c{number}", **more)


def parted(pairs, **settings):
    made = list(run(pairs, SplitConfig(**settings)))
    return [each for each in made if isinstance(each, FigurePair)], [each for each in made if isinstance(each, Drop)]


def test_each_kind_of_duplicate():
    pairs = [
        pair("B", "f1", "s1", "p1", "c1"),
        pair("A", "f1", "s1", "p9", "c9"),  # lower id: this one is kept
        pair("C", "f1", "s2", "p2", "c2"),
        pair("C", "f2", "s3", "p2", "c2"),
        pair("C", "f3", "s4", "p2", "c3"),  # looks the same, other caption
        pair("C", "f1", "s5", "p5", "c5"),  # an id that was there
    ]
    kept, drops = parted(pairs)
    assert [(each.article_id, each.figure_id, each.sha256) for each in kept] == [
        ("A", "f1", "s1"), ("C", "f1", "s2"), ("C", "f3", "s4"),
    ]  # fmt: skip
    assert [(drop.key, drop.reason) for drop in drops] == [
        ("B/f1", "duplicate_image"), ("C/f2", "near_duplicate"), ("C/f1", "duplicate_id"),
    ]  # fmt: skip
    assert drops[0].detail == "Its image file is that of A/f1."
    kept, drops = parted(pairs, drop_duplicates=False)
    assert len(kept) == 5 and [drop.reason for drop in drops] == ["duplicate_id"]


def test_subfigures_of_one_file_are_no_duplicates():
    pairs = [pair(subfigure_id="a"), pair(subfigure_id="b"), pair()]
    assert len(parted(pairs)[0]) == 3


def test_nothing_in_nothing_out():
    assert list(run([], SplitConfig())) == []


def reference_groups(pairs):
    """Articles joined while any two pairs of theirs share something."""
    groups = {each.article_id: {each.article_id} for each in pairs}
    for one, other in combinations(pairs, 2):
        shared = any(
            getattr(one, name) is not None and getattr(one, name) == getattr(other, name)
            for name in ("article_id", "sha256", "phash", "caption_sha256", "pmcid", "doi")
        )
        if shared and groups[one.article_id] is not groups[other.article_id]:
            merged = groups[one.article_id] | groups[other.article_id]
            groups |= dict.fromkeys(merged, merged)
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_two_sides_and_no_side_depends_on_the_order(seed):
    draw = random.Random(seed)
    pairs = [
        pair(
            f"A{draw.randrange(60)}", f"f{number}", f"s{draw.randrange(400)}", f"p{draw.randrange(400)}",
            f"c{draw.randrange(400)}", pmcid=draw.choice([None, f"PMC{draw.randrange(300)}"]), doi=None,
        )
        for number in range(120)
    ]  # fmt: skip
    settings = {"validation_fraction": 0.3, "test_fraction": 0.3}
    kept, drops = parted(pairs, **settings)
    assert len(kept) + len(drops) == len(pairs)
    split_of = {}
    for each in kept:
        assert split_of.setdefault(each.article_id, each.split) == each.split
    for group in reference_groups(pairs):
        assert len({split_of[article] for article in group if article in split_of}) <= 1
    assert len(reference_groups(pairs)) > 5 and set(split_of.values()) == set(SPLITS)
    draw.shuffle(pairs)
    shuffled, _ = parted(pairs, **settings)
    assert {(p.article_id, p.figure_id): p.split for p in shuffled} == {
        (p.article_id, p.figure_id): p.split for p in kept
    }


def test_shares_are_met_and_more_articles_move_none():
    pairs = [different(f"A{number}", "f1", number) for number in range(4000)]
    kept, _ = parted(pairs, validation_fraction=0.1, test_fraction=0.2)
    counts = Counter(each.split for each in kept)
    assert 340 < counts["validation"] < 460 and 720 < counts["test"] < 880
    fewer, _ = parted(pairs[:1000], validation_fraction=0.1, test_fraction=0.2)
    assert [each.split for each in fewer] == [each.split for each in kept[:1000]]
    other, _ = parted(pairs, validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert [each.split for each in other] != [each.split for each in kept]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_fraction": 1.5}, "`test_fraction` must be from 0 to 1, got 1.5"),
        ({"validation_fraction": 0.6, "test_fraction": 0.6}, "must be 1 at most, got 1.2"),
    ],
)
def test_shares_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        SplitConfig(**settings)
