from collections import defaultdict, deque

import numpy as np
import pytest

from phenolip.train.data import EpochPlan
from phenolip.train.row_orders import (
    BalancedOrder,
    LengthGroupedOrder,
    ShuffledOrder,
    SiblingOrder,
    rarest_labels,
)

ROUND, SQUARE, RED, PALE, SMALL = "HP:9900003", "HP:9900004", "HP:9900005", "HP:9900008", "HP:9900007"
LABELS = [[ROUND]] * 30 + [[SQUARE]] * 9 + [[RED, ROUND]] * 3 + [[]] * 5 + [[PALE]] * 4
LENGTHS = np.random.default_rng(0).integers(1, 100, len(LABELS))
NUM_ROWS = len(LABELS)


def build(kind, ontology, seed=0):
    if kind == "balanced":
        return BalancedOrder(LABELS, cap=6, seed=seed)
    if kind == "length":
        return LengthGroupedOrder(LENGTHS, 4, seed=seed)
    if kind == "siblings":
        return SiblingOrder(LABELS, ontology, group_size=3, seed=seed)
    return ShuffledOrder(NUM_ROWS, seed=seed)


KINDS = ["shuffled", "balanced", "length", "siblings"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_depends_on_seed_and_epoch_alone(ontology, kind):
    order, again = build(kind, ontology), build(kind, ontology)
    later = [order(epoch) for epoch in (2, 0, 1)]
    assert all(np.array_equal(later[place], again(epoch)) for epoch, place in ((0, 1), (1, 2), (2, 0)))
    assert not np.array_equal(order(0), order(1))
    assert not np.array_equal(order(0), build(kind, ontology, seed=1)(0))


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_are_equally_long_and_take_no_row_twice(ontology, kind):
    order = build(kind, ontology)
    for epoch in range(5):
        rows = order(epoch)
        assert rows.shape == (order.num_rows,) and rows.dtype.kind == "i"
        assert len(set(rows.tolist())) == order.num_rows and rows.min() >= 0 and rows.max() < NUM_ROWS
    assert (order.num_rows == NUM_ROWS) == (kind != "balanced")


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_share_each_batch_of_one(ontology, kind):
    settings = {"batch_size": 8, "seed": 0, "order": build(kind, ontology)}
    whole = EpochPlan(NUM_ROWS, **settings)
    parts = [EpochPlan(NUM_ROWS, **settings, rank=rank, world_size=2) for rank in (0, 1)]
    assert whole.batches_per_epoch == settings["order"].num_rows // 8
    for index in (9, 0, 3, 4):
        assert whole.batch(index) == parts[0].batch(index) + parts[1].batch(index)


def test_balanced_takes_the_cap_of_each_phenotype_and_all_rows_in_turn():
    order = BalancedOrder(LABELS, cap=6, seed=0)
    owners = rarest_labels(LABELS)
    seen = set()
    for epoch in range(60):
        rows = order(epoch).tolist()
        counts = {owner: sum(owners[row] == owner for row in rows) for owner in set(owners)}
        assert counts == {ROUND: 6, SQUARE: 6, RED: 3, PALE: 4, None: 5}
        seen.update(rows)
    assert seen == set(range(NUM_ROWS))


def test_a_row_counts_for_its_rarest_label():
    assert rarest_labels([["b", "a"], ["a"], [], ["c", "b"], ["c", "c"]]) == ["a", "a", None, "b", "c"]
    assert BalancedOrder([["a", "b"], ["b"], ["b"]], cap=1, seed=0).num_rows == 2


def test_captions_of_a_batch_are_about_equally_long():
    lengths, batch_size = np.random.default_rng(1).permutation(200), 8
    grouped = LengthGroupedOrder(lengths, batch_size, seed=0)
    ranges = [np.ptp(lengths[rows]) for rows in grouped(0).reshape(-1, batch_size)]
    uniform = [np.ptp(lengths[rows]) for rows in ShuffledOrder(200, seed=0)(0).reshape(-1, batch_size)]
    assert max(ranges) < min(uniform)
    starts = [lengths[rows].mean() for rows in grouped(0).reshape(-1, batch_size)]
    assert starts != sorted(starts)  # batches come in random order


def test_no_caption_is_always_dropped_for_its_length():
    lengths = np.arange(23)
    plan = EpochPlan(23, 4, seed=0, order=LengthGroupedOrder(lengths, 4, seed=0))
    seen = {row for index in range(5 * 12) for _, row in plan.batch(index)}
    assert seen == set(range(23))


def test_a_batch_larger_than_the_data_holds_it_all():
    plan = EpochPlan(5, 64, seed=0, order=LengthGroupedOrder([3, 1, 2, 5, 4], 64, seed=0))
    assert sorted(row for _, row in plan.batch(3)) == [0, 1, 2, 3, 4]


def test_rows_of_siblings_stand_together(ontology):
    # round and square are siblings, and red has none among the labels; ten rows of each
    labels = [[ROUND]] * 10 + [[SQUARE]] * 10 + [[RED]] * 10
    order = SiblingOrder(labels, ontology, group_size=2, seed=0)(0)
    owners = [labels[row][0] for row in order]
    shapes = [owner for owner in owners if owner != RED]
    assert all({shapes[i], shapes[i + 1]} == {ROUND, SQUARE} for i in range(0, 20, 2))
    reds = [place for place, owner in enumerate(owners) if owner == RED]
    pairs = [place for place in range(29) if {owners[place], owners[place + 1]} == {ROUND, SQUARE}]
    assert len(pairs) >= 10 and max(reds) - min(reds) > 10  # those alone are spread


def test_rows_that_find_no_sibling_are_spread_over_the_epoch(ontology):
    labels = [[ROUND]] * 30 + [[SQUARE]] * 10
    order = SiblingOrder(labels, ontology, group_size=2, seed=0)
    last_squares = [max(np.flatnonzero(order(epoch) >= 30)) for epoch in range(10)]
    assert min(last_squares) > 25  # taken one group after the other, all squares would be among the first 20 rows


def test_groups_are_no_larger_than_asked_and_hold_different_phenotypes(ontology):
    order = SiblingOrder(LABELS, ontology, group_size=3, seed=0)
    waiting = defaultdict(list)
    for row, owner in enumerate(order.owners):
        waiting[owner].append(row)
    turns = {parent: deque(owners) for parent, owners in order.siblings.items()}
    used = np.zeros(NUM_ROWS, dtype=bool)
    used[0] = True  # a round one asks for siblings
    found = order._siblings(ROUND, waiting, turns, used)
    assert [order.owners[row] for row in found] == [SQUARE] and used.sum() == 2
    assert order._siblings(None, waiting, turns, used) == []


def test_siblings_of_a_row_without_any_are_none(ontology):
    order = SiblingOrder([[], [], [ROUND]], ontology, group_size=4, seed=0)
    assert sorted(order(0).tolist()) == [0, 1, 2]


def test_two_parents_give_siblings_of_both(ontology):
    # "red square" is a child of "square" and of "red", as "pale red" is
    labels = [["HP:9900006"], [PALE]]
    order = SiblingOrder(labels, ontology, group_size=2, seed=0)
    assert order.siblings["HP:9900005"] == ["HP:9900006", PALE]
    assert order.siblings["HP:9900004"] == ["HP:9900006"]
