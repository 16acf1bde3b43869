import numpy as np
import pytest

from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.term import PhenotypeTerm
from phenolip.train.data import EpochPlan
from phenolip.train.relatives_order import RelativesOrder


@pytest.fixture(scope="module")
def tree():
    """Root, 20 systems of one group with four terms each: 121 terms in all."""
    terms = [PhenotypeTerm(PHENOTYPIC_ABNORMALITY, "root")]
    for system in range(20):
        top, group = f"HP:1{system:06d}", f"HP:2{system:06d}"
        terms.append(PhenotypeTerm(top, "system", parents=(PHENOTYPIC_ABNORMALITY,)))
        terms.append(PhenotypeTerm(group, "group", parents=(top,)))
        for n in range(4):
            terms.append(PhenotypeTerm(f"HP:3{system:02d}000{n}", "leaf", parents=(group,)))
    return PhenotypeOntology(terms, release="2000-01-01")


def plan_of(ontology, batch_size=11, rank=0, world_size=1, **settings):
    settings = {"seed": 0, "num_relatives": 3, "below": "ancestor"} | settings
    order = RelativesOrder(ontology.term_ids(), ontology, **settings)
    place = {"seed": settings["seed"], "rank": rank, "world_size": world_size}
    return EpochPlan(order.num_rows, batch_size, **place, order=order)


def related(ontology, a, b):
    shared = set(ontology.ancestors(a, include_self=True)) & set(ontology.ancestors(b, include_self=True))
    return bool(shared - {PHENOTYPIC_ABNORMALITY})


@pytest.mark.parametrize("below", ["parent", "ancestor"])
def test_every_term_comes_once_an_epoch_and_epochs_differ(tree, below):
    plan = plan_of(tree, below=below)
    assert plan.batches_per_epoch == 11
    orders = [[row for i in range(11) for _, row in plan.batch(11 * epoch + i)] for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(121))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("below", ["parent", "ancestor"])
def test_batches_hold_many_more_relatives_than_uniform_ones(tree, below):
    def share_with_relative(plan):
        ids = tree.term_ids()
        found = []
        for index in range(plan.batches_per_epoch):
            batch = [ids[row] for _, row in plan.batch(index)]
            found += [any(related(tree, a, b) for b in batch if b != a) for a in batch]
        return np.mean(found)

    uniform = share_with_relative(EpochPlan(121, 11, seed=0))
    assert share_with_relative(plan_of(tree, below=below)) > 0.75 > 0.5 > uniform


def test_below_parent_draws_siblings_and_what_is_below_them(tree):
    plan = plan_of(tree, below="parent")
    ids = tree.term_ids()
    free = np.ones(121, dtype=bool)
    leaf = ids.index("HP:3050000")
    free[leaf] = False
    rng = np.random.default_rng(0)
    drawn = {ids[row] for row in (plan.order._draw(leaf, free, rng) for _ in range(200)) if row is not None}
    assert drawn == {"HP:2000005", "HP:3050001", "HP:3050002", "HP:3050003"}
    drawn = {ids[row] for row in (plan_of(tree).order._draw(leaf, free, rng) for _ in range(200)) if row is not None}
    assert "HP:1000005" in drawn  # below the farther ancestor
    assert plan.order._draw(ids.index(PHENOTYPIC_ABNORMALITY), free, rng) is None


def test_two_processes_share_each_batch_of_one(tree):
    whole = plan_of(tree, batch_size=12)
    parts = [plan_of(tree, batch_size=12, rank=rank, world_size=2) for rank in (0, 1)]
    for index in range(25):
        assert whole.batch(index) == parts[0].batch(index) + parts[1].batch(index)


def test_a_batch_depends_on_seed_and_index_alone(tree):
    plan, again = plan_of(tree), plan_of(tree)
    assert [plan.batch(i) for i in (30, 3, 17)] == [again.batch(i) for i in (30, 3, 17)]
    assert plan.batch(3) == again.batch(3) != plan_of(tree, seed=1).batch(3)


def test_without_relatives_groups_are_single_terms(tree):
    rows = [row for i in range(11) for _, row in plan_of(tree, num_relatives=0).batch(i)]
    assert sorted(rows) == list(range(121))
