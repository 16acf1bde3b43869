"""Nearness of predictions in a real release against the ontology's own functions, one pair at a time."""

import numpy as np
import pytest

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.query_metrics import with_clusters
from phenolip.eval.evaluators.zero_shot_ontology import ZeroShotOntologyEvaluator
from phenolip.eval.ontology_scores import OntologyScores
from phenolip.eval.per_query import Queries
from phenolip.exceptions import OntologyError
from phenolip.ontology import load_ontology
from phenolip.ontology.similarity import lin

ROOT = "HP:0000118"


@pytest.fixture(scope="module")
def ontology():
    return load_ontology()


@pytest.fixture(scope="module")
def candidates(ontology):
    rng = np.random.default_rng(0)
    terms = rng.choice(ontology.term_ids(), 40, replace=False).tolist()
    above = [hpo_id for term in terms[:3] for hpo_id in ontology.ancestors(term) if ontology.is_phenotype(hpo_id)]
    return list(dict.fromkeys([*terms, *above, ROOT, "HP:0000005"]))  # and a mode of inheritance


def depth_of_lca(ontology, a, b):
    try:
        return ontology.depth(ontology.lca(a, b))
    except OntologyError:
        return 0


@pytest.mark.parametrize("seed", range(3))
def test_nearness_equals_the_ontologys_own_functions(ontology, candidates, seed):
    rng = np.random.default_rng(seed)
    labels = [np.sort(rng.choice(len(candidates), size, replace=False)) for size in (1, 2, 4)]
    scores = OntologyScores(ontology, candidates)

    def counted(hpo_id):
        return {i for i in ontology.ancestors(hpo_id, include_self=True) if ontology.is_phenotype(i)} - {ROOT}

    for row, near in zip(labels, scores.nearness(labels), strict=True):
        ids = [candidates[label] for label in row]
        true = set().union(*map(counted, ids))
        assert near.true == len(true)
        for column, said in enumerate(candidates):
            shared, predicted = len(counted(said) & true), len(counted(said))
            assert (near.shared[column], near.predicted[column]) == (shared, predicted)
            assert near.lin[column] == pytest.approx(max(lin(ontology, said, label) for label in ids), abs=1e-9)
            assert near.depth[column] == max(depth_of_lca(ontology, said, label) for label in ids)
            assert near.f1[column] == pytest.approx(
                2 * shared / (predicted + len(true)) if predicted + len(true) else 0
            )
        above = {column for column, said in enumerate(candidates) if said in true or said in ids}
        assert set(scores.at_or_above(row).tolist()) == above


def test_a_perfect_prediction_scores_one_and_chance_is_the_mean_over_candidates(ontology, helpers):
    ids = [term for term in ontology.leaves()[:12]]
    names = [ontology[hpo_id].name for hpo_id in ids]
    pairs = helpers.make_pairs([f"image {n}" for n in range(12)], names, [[name] for name in names], names)
    pairs = type(pairs)(**{**pairs.__dict__, "candidate_ids": tuple(ids)})

    class Perfect:
        def encode_images(self, images):
            return np.eye(12, dtype=np.float32)[[int(image.split()[1]) for image in images]]

        def encode_texts(self, texts):
            return np.eye(12, dtype=np.float32)[[names.index(text) for text in texts]]

    evaluator = ZeroShotOntologyEvaluator(pairs, ontology, prompts=["{}"], prompt_sets={"bare": ["{}"]}, ks=[1])
    metrics = evaluator(Perfect())
    for name, metric in metrics.items():
        assert metric.value == pytest.approx(np.mean([ontology.depth(i) for i in ids]) if "depth" in name else 1), name
    chance = np.mean([[lin(ontology, a, b) for b in ids] for a in ids])
    assert metrics["zero_shot_lin_similarity"].chance == pytest.approx(chance)
    assert evaluator.queries["macro_zero_shot"].ids == tuple(ids)

    class Collapsed(Perfect):
        def encode_texts(self, texts):
            return np.ones((len(texts), 12), np.float32)

    for name, metric in evaluator(Collapsed()).items():
        assert metric.value == pytest.approx(metric.chance), name  # all candidates tie


def test_no_labels_give_no_metrics(helpers, ontology, encoder):
    assert ZeroShotOntologyEvaluator(helpers.make_pairs(["a"], ["x"], [[]], ["Sign"]), ontology)(encoder) == {}


def test_intervals_by_cluster_leave_other_families_alone():
    values = np.array([1.0, 1.0, 0.0, 0.0])
    metric = MetricValue(0.5, (0.4, 0.6), 4, None, values)
    metrics = {"i2t_hit_at_1": metric, "p2i_hit_at_1": metric, "i2t_median_rank": MetricValue(3.0, (1, 4), 4)}
    queries = {"i2t": Queries("pair", tuple("abcd")), "p2i": Queries("phenotype", tuple("abcd"))}
    changed = with_clusters(metrics, queries, {"i2t": np.array([0, 0, 1, 1])})
    assert changed["i2t_hit_at_1"].ci95 == (0.0, 1.0) and changed["i2t_hit_at_1"].value == 0.5
    assert changed["p2i_hit_at_1"] is metric and changed["i2t_median_rank"].ci95 == (1, 4)
