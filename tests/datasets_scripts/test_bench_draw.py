"""Which rows are drawn: against brute force, and what training data and near copies keep out."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import datasets
import numpy as np
import pytest

from phenolip.datasets_scripts.bench_draw import DrawConfig, draw
from phenolip.datasets_scripts.bench_source import BenchSource, Candidate
from phenolip.datasets_scripts.contamination import AuditedTable
from phenolip.datasets_scripts.near_captions import jaccard, shingles
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.near_copies import fold_caption
from phenolip.ontology import load_ontology

TERM = "\n[Term]\nid: HP:{:07d}\nname: Term {}\nis_a: HP:0000118\n"
NO_PHENOTYPE = "HP:0000005"


@pytest.fixture(scope="module")
def terms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terms")
    text = "format-version: 1.2\ndata-version: hp/releases/2025-01-16\n"
    text += "\n[Term]\nid: HP:0000118\nname: Phenotypic abnormality\n"
    text += f"\n[Term]\nid: {NO_PHENOTYPE}\nname: Mode of inheritance\n"
    (folder / "hp.obo").write_text(text + "".join(TERM.format(9910000 + n, n) for n in range(40)))
    return load_ontology(folder / "hp.obo", cache_dir=folder)


def term(number):
    return f"HP:{9910000 + number:07d}"


def table_of(candidates, hashes):
    columns = [[getattr(one, name) for one in candidates] for name in ("row_id", "group_id", "caption", "image_key")]
    return AuditedTable("table", *columns, np.array(hashes, dtype=np.uint64), datasets.Dataset.from_dict({}))


def source_of(candidates, hashes, elsewhere=None, unusable=()):
    def image_bytes(place):
        if place in unusable:
            raise DataError("gone")
        return b""

    return BenchSource(
        "table", candidates, table_of(candidates, hashes), image_bytes, elsewhere, {}
    )  # fmt: skip


def words(generator, number=12):
    return " ".join(f"w{word}" for word in generator.integers(0, 10_000, number))


@pytest.fixture
def crowd():
    """300 rows of 40 phenotypes of very unequal frequency; some images and captions nearly the same."""
    generator = np.random.default_rng(3)
    candidates, hashes = [], []
    for row in range(300):
        ids = {term(int(40 * generator.random() ** 3)) for _ in range(generator.integers(1, 4))}
        copied = row > 50 and generator.random()
        caption = candidates[int(generator.integers(row))].caption if 0 < copied < 0.1 else words(generator)
        image = hashes[int(generator.integers(row))] ^ 5 if 0.1 < copied < 0.2 else int(generator.integers(2**62))
        candidates.append(Candidate(f"r{row}", "", caption, tuple(sorted(ids)), f"sha{row}"))
        hashes.append(image)
    return candidates, hashes


def are_near(one, other, candidates, hashes):
    captions = [fold_caption(candidates[row].caption) for row in (one, other)]
    near = jaccard(*map(shingles, captions)) >= 0.8 or captions[0] == captions[1]
    return near or (hashes[one] ^ hashes[other]).bit_count() <= 4


@pytest.mark.parametrize("per_phenotype", [1, 3])
def test_against_brute_force(crowd, terms, per_phenotype):
    candidates, hashes = crowd
    found = draw(source_of(candidates, hashes), [], DrawConfig(per_phenotype=per_phenotype), terms)
    counts = Counter(hpo_id for row in found.places for hpo_id in candidates[row].hpo_ids)
    assert max(counts.values()) == per_phenotype
    assert not any(are_near(*pair, candidates, hashes) for pair in combinations(found.places, 2))
    for row in set(range(300)) - set(found.places):  # nothing more could have been taken
        is_full = any(counts[hpo_id] == per_phenotype for hpo_id in candidates[row].hpo_ids)
        assert is_full or any(are_near(row, other, candidates, hashes) for other in found.places)
    assert sum(found.left_out.values()) + len(found.places) == 300
    assert set(found.left_out) <= {"near_copy", "phenotype_has_enough", "not_needed"}


def test_rare_ones_first_and_a_prefix_is_a_smaller_draw(crowd, terms):
    candidates, hashes = crowd
    frequency = Counter(hpo_id for one in candidates for hpo_id in one.hpo_ids)
    one_each = draw(source_of(candidates, hashes), [], DrawConfig(per_phenotype=1), terms)
    rarest = [min(frequency[hpo_id] for hpo_id in candidates[row].hpo_ids) for row in one_each.places]
    assert rarest[0] == min(frequency.values()) and rarest == sorted(rarest)
    whole = draw(source_of(candidates, hashes), [], DrawConfig(per_phenotype=2), terms)
    covered = {hpo_id for row in whole.places for hpo_id in candidates[row].hpo_ids}
    assert len(covered) == whole.num_available == len(frequency)
    for number in (1, 7, 30):
        part = draw(source_of(candidates, hashes), [], DrawConfig(per_phenotype=2, number=number), terms)
        assert part.places == whole.places[:number]


def test_the_order_of_the_source_decides_nothing_and_the_seed_does(crowd, terms):
    candidates, hashes = crowd
    order = np.random.default_rng(0).permutation(300)
    mixed = source_of([candidates[row] for row in order], [hashes[row] for row in order])
    drawn = [
        [source.candidates[row].row_id for row in draw(source, [], DrawConfig(seed=seed), terms).places]
        for source, seed in ((source_of(candidates, hashes), 0), (mixed, 0), (mixed, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_trained_on_is_left_out_by_article_caption_and_image(terms):
    generator = np.random.default_rng(0)
    texts = [words(generator) for _ in range(8)]
    rows = [Candidate(f"r{n}", f"PMC{n}000", texts[n], (term(n),), f"sha{n}") for n in range(6)]
    hashes = [1 << 60 | 0xFFFF << 8 * n for n in range(6)]
    trained = [
        Candidate("a", "PMC0000.2 x", texts[6], (), "x"),  # the number of an article needs no more than its digits
        Candidate("b", "PMC1000.3", texts[7], (), "y"),
        Candidate("c", "", texts[2].upper(), (), "z"),
        Candidate("d", "", "other words", (), "sha3"),
    ]
    training = table_of(trained, [2, 0xABCDEF, 0x123456789, hashes[4] ^ 3])
    source = source_of([*rows, Candidate("n", "", "no label", (NO_PHENOTYPE,), "n")], [*hashes, 77])
    found = draw(source, [training], DrawConfig(), terms)
    assert [rows[row].row_id for row in found.places] == ["r5"]
    assert found.left_out == {
        "training_same_article": 2, "training_same_caption": 1, "training_same_image": 1, "training_near_image": 1,
        "no_phenotype": 1,
    }  # fmt: skip
    other_splits = replace(source, elsewhere=training)
    assert draw(other_splits, [], DrawConfig(), terms).places == found.places
    files_only = draw(source, [training], DrawConfig(max_phash_distance=-1), terms)
    assert {rows[row].row_id for row in files_only.places} == {"r4", "r5"}


def test_a_row_whose_image_is_gone_makes_room_for_another(terms):
    generator = np.random.default_rng(1)
    rows = [Candidate(f"r{n}", "", words(generator), (term(0),), f"sha{n}") for n in range(3)]
    source = source_of(rows, [1, 2**40 - 1, 2**62 - 7])
    (first,) = draw(source, [], DrawConfig(per_phenotype=1), terms).places
    found = draw(source_of(rows, [1, 2**40 - 1, 2**62 - 7], unusable=[first]), [], DrawConfig(per_phenotype=1), terms)
    assert len(found.places) == 1 and found.places != [first]
    assert found.left_out == {"image_cannot_be_used": 1, "not_needed": 1}


def test_nothing_to_draw_and_wrong_settings(terms):
    source = source_of([Candidate("r", "", "text", (), "sha")], [1])
    with pytest.raises(DataError, match=r"No row of table can be drawn: 1 no_phenotype\."):
        draw(source, [], DrawConfig(), terms)
    with pytest.raises(ConfigurationError, match="`per_phenotype` must be at least 1, got 0"):
        DrawConfig(per_phenotype=0)
    with pytest.raises(ConfigurationError, match="`number` must be at least 1, got -3"):
        DrawConfig(number=-3)
    with pytest.raises(ConfigurationError, match="`min_jaccard` must be above 0"):
        DrawConfig(min_jaccard=0.0)
