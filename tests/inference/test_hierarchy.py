"""Relatives and mixtures against brute force on a small graph with a diamond, and on random graphs."""

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference import hierarchy
from phenolip.inference.hierarchy import (
    Relatives,
    lin_relatives,
    mix_embeds,
    mix_scores,
    path_relatives,
    with_ancestors,
)
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm
from phenolip.ontology.similarity import lin

ROOT, MODE = "HP:0000118", "HP:0000005"
EYE, LENS, CATARACT, NUCLEAR = "HP:0000478", "HP:0000517", "HP:0000518", "HP:0100018"
OPACITY, LOW_EARS = "HP:0000001", "HP:0000369"


def dense(relatives):
    """(V, V) matrix of the weights."""
    matrix = np.zeros((len(relatives.rows), len(relatives.rows)))
    for term, (rows, weights) in enumerate(zip(relatives.rows, relatives.weights, strict=True)):
        for row, weight in zip(rows, weights, strict=True):
            matrix[term, row] += weight
    return matrix


def random_ontology(seed, num_terms=40):
    rng = np.random.default_rng(seed)
    terms = [PhenotypeTerm(ROOT, "Root")]
    for number in range(num_terms):
        above = rng.choice(len(terms), size=min(len(terms), rng.integers(1, 4)), replace=False)
        parents = tuple(sorted(terms[row].id for row in above))
        terms.append(PhenotypeTerm(f"HP:{5000000 + number}", f"Term {number}", parents=parents))
    return PhenotypeOntology(terms, release="2000-01-01")


def test_ancestors_join_above_the_floor(diamond):
    assert with_ancestors(diamond, [NUCLEAR], min_information=0.0) == (NUCLEAR, OPACITY, ROOT, EYE, LENS, CATARACT)
    floor = diamond.information_content(LENS)
    assert with_ancestors(diamond, [NUCLEAR, LENS], min_information=floor) == (NUCLEAR, LENS, OPACITY, CATARACT)
    assert with_ancestors(diamond, [MODE], min_information=0.0) == (MODE,)


@pytest.mark.parametrize("seed", range(3))
def test_lin_weights_equal_the_plain_definition(seed, monkeypatch):
    monkeypatch.setattr(hierarchy, "BLOCK_SIMILARITIES", 100)  # a few rows at a time
    ontology = random_ontology(seed)
    ids = list(ontology)[::-1]
    expected = np.array([[0.0 if a == b else lin(ontology, a, b) ** 3 for b in ids] for a in ids])
    expected /= np.maximum(expected.sum(axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(dense(lin_relatives(ontology, ids, power=3)), expected, atol=1e-6)
    few = lin_relatives(ontology, ids, power=3, num_relatives=2)
    assert few.rows.shape == (len(ids), 2)
    largest = np.sort(expected, axis=1)[:, :-3:-1]
    largest /= np.maximum(largest.sum(axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(few.weights, largest, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_path_weights_equal_a_recursion_over_scores(seed):
    ontology = random_ontology(seed)
    ids = list(ontology)
    scores = dict(zip(ids, np.random.default_rng(seed).normal(size=len(ids)), strict=True))
    decay, alpha = 0.3, 0.6

    def informed(hpo_id, share):
        parents = ontology.parents(hpo_id)
        if not parents:
            return scores[hpo_id]
        return (1 - share) * scores[hpo_id] + share * np.mean([informed(parent, decay) for parent in parents])

    expected = [informed(hpo_id, alpha) for hpo_id in ids]
    relatives = path_relatives(ontology, ids, decay=decay)
    np.testing.assert_allclose(mix_scores([list(scores.values())], relatives, alpha=alpha)[0], expected, atol=1e-6)


def test_a_path_by_hand(diamond):
    ids = [CATARACT, LENS, OPACITY, EYE]
    weights = dense(path_relatives(diamond, ids, decay=0.5))
    np.testing.assert_allclose(weights[0], [0, 0.25, 0.25, 0.5], atol=1e-7)  # two parents, and the eye over both
    np.testing.assert_allclose(weights[3], 0)  # no parent is listed
    np.testing.assert_allclose(dense(path_relatives(diamond, ids, decay=0))[0], [0, 0.5, 0.5, 0], atol=1e-7)
    np.testing.assert_allclose(dense(path_relatives(diamond, [NUCLEAR, LENS])), 0)  # the link between them is missing


def test_mixtures_equal_matrix_products_and_leave_the_lonely_alone(diamond):
    ids = [CATARACT, LENS, OPACITY, MODE, LOW_EARS]
    relatives = lin_relatives(diamond, ids)
    weights = dense(relatives)
    assert weights[3].sum() == weights[4].sum() == 0  # outside HP:0000118; no shared information
    rng = np.random.default_rng(0)
    embeds, images = rng.normal(size=(5, 6)), rng.normal(size=(3, 6))
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    own = np.where(weights.any(axis=1), 0.7, 1.0)
    mixed = own[:, None] * embeds + 0.3 * weights @ embeds
    scores = mix_scores(images @ embeds.T, relatives, alpha=0.3)
    np.testing.assert_allclose(scores, images @ mixed.T, atol=1e-6)
    norms = np.linalg.norm(mixed, axis=1)
    np.testing.assert_allclose(images @ mix_embeds(embeds, relatives, alpha=0.3).T, scores / norms, atol=1e-6)
    np.testing.assert_allclose(mix_embeds(embeds, relatives, alpha=0), embeds, atol=1e-12)
    np.testing.assert_array_equal(scores[:, 3:], (images @ embeds.T)[:, 3:])


def test_one_term_has_no_relative(diamond):
    assert dense(lin_relatives(diamond, [EYE])).tolist() == dense(path_relatives(diamond, [EYE])).tolist() == [[0.0]]


@pytest.mark.parametrize("function", [with_ancestors, lin_relatives, path_relatives])
def test_wrong_terms_are_named(diamond, function):
    with pytest.raises(DataError, match="at least one phenotype"):
        function(diamond, [])
    with pytest.raises(DataError, match=r"once, got HP:0000517 \(Abnormal lens morphology\) twice"):
        function(diamond, [LENS, "HP:9000000"])  # an alternative id of the same term
    with pytest.raises(UnknownTermError, match="HP:1234567"):
        function(diamond, ["HP:1234567"])


def test_wrong_settings_are_named(diamond):
    with pytest.raises(ConfigurationError, match="`power` must be above 0"):
        lin_relatives(diamond, [EYE], power=0)
    with pytest.raises(ConfigurationError, match="`num_relatives` at least 1"):
        lin_relatives(diamond, [EYE], num_relatives=0)
    with pytest.raises(ConfigurationError, match="`decay` must be at least 0 and below 1"):
        path_relatives(diamond, [EYE], decay=1)
    relatives = Relatives(np.zeros((2, 1), int), np.ones((2, 1)))
    with pytest.raises(ConfigurationError, match="`alpha` must be from 0 to 1"):
        mix_scores(np.zeros((1, 2)), relatives, alpha=1.5)
    with pytest.raises(DataError, match="`scores` must be 2-D and cover 2 terms"):
        mix_scores(np.zeros((1, 3)), relatives)
    with pytest.raises(DataError, match="`embeds` must be 2-D and cover 2 terms"):
        mix_embeds(np.zeros(2), relatives)
