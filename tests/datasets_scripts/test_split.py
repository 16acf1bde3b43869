"""No caption, image or near copy of one on both sides."""

from collections import Counter

import datasets
import numpy as np
import pytest

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.split import _near_pairs, group_rows, split_by_group
from phenolip.exceptions import DataError


def pairs(rows, group_ids=None):
    """A dataset of (caption, sha256, image bytes), and a case or article for each if wanted."""
    group_ids = group_ids or [""] * len(rows)
    columns = {
        "caption": [caption for caption, _, _ in rows],
        "sha256": [sha256 for _, sha256, _ in rows],
        "image": [{"bytes": data, "path": None} for _, _, data in rows],
        "row_id": list(map(str, range(len(rows)))),
        "group_id": group_ids,
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image(decode=False))


def distinct(number, helpers):
    return [(f"caption {row}", f"{row:064x}", helpers.encoded(helpers.picture(row))) for row in range(number)]


def test_groups_join_captions_files_and_near_copies(helpers):
    rows = distinct(8, helpers)
    rows[1] = ("  CAPTION\n0 ", *rows[1][1:])  # the caption of row 0, cased and spaced otherwise
    rows[2] = (rows[2][0], rows[1][1], rows[2][2])  # the file of row 1: a chain with row 0
    large, small = helpers.picture(5, (96, 80)), helpers.picture(5, (72, 60))
    rows[5] = (*rows[5][:2], helpers.encoded(large))
    rows[3] = (*rows[3][:2], helpers.encoded(small, "JPEG", quality=60))  # the picture of row 5, scaled, compressed
    groups = group_rows(pairs(rows))
    assert groups.tolist() == [0, 0, 0, 1, 2, 1, 3, 4]
    assert group_rows(pairs(rows), max_phash_distance=-1).tolist() == [0, 0, 0, 1, 2, 3, 4, 5]


def test_groups_join_rows_of_one_case_and_no_case_joins_nothing(helpers):
    dataset = pairs(distinct(5, helpers), group_ids=["", "case 1", "", "case 2", "case 1"])
    assert group_rows(dataset, max_phash_distance=-1).tolist() == [0, 1, 2, 3, 1]


def test_near_pairs_equal_the_plain_double_loop():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**63, 6, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (60, 3), dtype=np.uint64)
    hashes = rng.choice(centres, 60) ^ flips[:, 0] ^ flips[:, 1] ^ flips[:, 2]
    hashes[40:45] = hashes[3]
    parents = list(range(60))
    for one, other in _near_pairs(hashes, 4):
        old, new = parents[other], parents[one]
        parents = [new if parent == old else parent for parent in parents]
    expected = list(range(60))
    for one in range(60):
        for other in range(one):
            if int(hashes[one] ^ hashes[other]).bit_count() <= 4:
                old, new = expected[one], expected[other]
                expected = [new if parent == old else parent for parent in expected]
    assert [parents.index(parent) for parent in parents] == [expected.index(parent) for parent in expected]


def test_groups_are_whole_and_the_size_is_met(helpers):
    rows = distinct(40, helpers)
    rows = [(f"caption {number // 3}", *row[1:]) for number, row in enumerate(rows)]
    dataset = pairs(rows)
    train, validation = split_by_group(dataset, validation_fraction=0.25, seed=1, max_phash_distance=-1)
    assert sorted([*train["row_id"], *validation["row_id"]], key=int) == dataset["row_id"][:]
    assert not set(train["caption"]) & set(validation["caption"])
    assert 10 - 3 < len(validation) <= 10
    assert validation["row_id"][:] == sorted(validation["row_id"], key=int)


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(helpers):
    rows = distinct(30, helpers)
    dataset = pairs(rows)

    def chosen(dataset, seed):
        return sorted(split_by_group(dataset, seed=seed)[1]["caption"])

    assert chosen(dataset, 0) == chosen(dataset, 0) == chosen(pairs(rows[::-1]), 0)
    assert len({tuple(chosen(dataset, seed)) for seed in range(4)}) > 1


def test_what_cannot_be_split(helpers):
    rows = distinct(4, helpers)
    with pytest.raises(DataError, match="its 4 rows form 1 group of near copies"):
        split_by_group(pairs([("same", *row[1:]) for row in rows]))
    with pytest.raises(DataError, match="`validation_fraction` must be above 0 and below 1, got 1"):
        split_by_group(pairs(rows), validation_fraction=1)
    with pytest.raises(DataError, match="`max_phash_distance` must be between -1 and 64 bits, got 65"):
        split_by_group(pairs(rows), max_phash_distance=65)


def test_two_large_groups_give_the_smaller_to_validation(helpers):
    rows = [("a" if row < 3 else "b", *rest) for row, (_, *rest) in enumerate(distinct(8, helpers))]
    train, validation = split_by_group(pairs(rows), max_phash_distance=-1)
    assert (Counter(train["caption"]), Counter(validation["caption"])) == ({"b": 5}, {"a": 3})


@pytest.mark.slow
def test_gallery(gallery):
    dataset = load_pairs(gallery)
    train, validation = split_by_group(dataset)
    assert len(validation) == round(0.15 * len(dataset)) == 418
    assert not set(train["sha256"]) & set(validation["sha256"])
    assert not {caption.casefold() for caption in train["caption"]} & {c.casefold() for c in validation["caption"]}
