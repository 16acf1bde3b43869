"""The vectorised measures against their definitions, term by term."""

import math
import random
import time

import numpy as np
import pytest

from phenolip.exceptions import UnknownTermError
from phenolip.ontology import PHENOTYPIC_ABNORMALITY, lin, lin_matrix, lin_similarities, related_mask, resnik

ROOT = PHENOTYPIC_ABNORMALITY


def plain_resnik(ontology, a, b):
    common = set(ontology.ancestors(a, include_self=True)) & set(ontology.ancestors(b, include_self=True))
    return max((ontology.information_content(i) for i in common if ontology.is_phenotype(i)), default=0.0)


def plain_lin(ontology, a, b):
    if ontology.resolve(a) == ontology.resolve(b):
        return 1.0
    shared = plain_resnik(ontology, a, b)
    if shared == 0:
        return 0.0
    return 2 * shared / (ontology.information_content(a) + ontology.information_content(b))


def near_pairs(ontology, num, seed=0):
    """Pairs of which half share a parent's ancestor, since uniform pairs seldom share anything."""
    chosen = random.Random(seed)
    phenotypes = ontology.term_ids()
    for place in range(num):
        a = chosen.choice(phenotypes)
        near = ontology.descendants(chosen.choice(ontology.ancestors(a, include_self=True)), include_self=True)
        yield a, chosen.choice(near if place % 2 else phenotypes)


@pytest.fixture(params=["small", "hpo"])
def any_ontology(request):
    return request.getfixturevalue(request.param)


def test_values_by_hand(small):
    # Nine phenotypes; at or below: Red colour 4, Red square 2, Pale red 1, Small red square 1, Square shape 3.
    assert resnik(small, "HP:9900007", "HP:9900008") == pytest.approx(math.log(9 / 4))
    assert lin(small, "HP:9900007", "HP:9900008") == pytest.approx(math.log(9 / 4) / math.log(9))
    assert lin(small, "HP:9900004", "HP:9900006") == pytest.approx(2 * math.log(3) / (math.log(3) + math.log(4.5)))
    assert lin(small, "HP:9900003", "HP:9900008") == 0.0


def test_the_root_and_terms_outside_it(small):
    assert lin(small, ROOT, ROOT) == 1.0
    assert lin(small, ROOT, "HP:9900001") == 0.0
    assert resnik(small, ROOT, ROOT) == 0.0
    assert lin(small, "HP:9900009", "HP:9900009") == 1.0
    assert lin(small, "HP:9900009", "HP:9900008") == 0.0
    assert lin(small, "HP:0000001", ROOT) == 0.0
    assert resnik(small, "HP:9900009", "HP:9900008") == 0.0


def test_against_the_definition(any_ontology):
    pairs = [(a, b) for a, b in near_pairs(any_ontology, 400) if any_ontology.is_phenotype(b)]
    ids_a, ids_b = zip(*pairs, strict=True)
    expected = [plain_lin(any_ontology, a, b) for a, b in pairs]
    assert lin_similarities(any_ontology, ids_a, ids_b) == pytest.approx(expected, abs=1e-12)
    assert [resnik(any_ontology, a, b) for a, b in pairs[:50]] == pytest.approx(
        [plain_resnik(any_ontology, a, b) for a, b in pairs[:50]], abs=1e-12
    )
    assert lin(any_ontology, *pairs[0]) == pytest.approx(expected[0])


def test_matrix_equals_pairs(any_ontology):
    chosen = random.Random(2)
    ids_a, ids_b = ([chosen.choice(list(any_ontology)) for _ in range(num)] for num in (70, 90))
    ids_b[:20] = ids_a[:20]
    matrix = lin_matrix(any_ontology, ids_a, ids_b)
    pairs = lin_similarities(any_ontology, np.repeat(ids_a, len(ids_b)).tolist(), ids_b * len(ids_a))
    assert matrix.dtype == np.float64 and matrix.shape == (70, 90)
    assert np.array_equal(matrix.ravel(), pairs)
    assert np.array_equal(lin_matrix(any_ontology, ids_b, ids_a), matrix.T)
    assert matrix.min() >= 0 and matrix.max() <= 1
    assert not np.isnan(matrix).any()


def test_related(any_ontology):
    chosen = random.Random(3)
    ids = [chosen.choice(list(any_ontology)) for _ in range(60)]
    ids += [i for pair in near_pairs(any_ontology, 30, seed=4) for i in pair] + ids[:5]
    expected = [
        [a != b and (a in any_ontology.ancestors(b) or b in any_ontology.ancestors(a)) for b in ids] for a in ids
    ]
    assert np.array_equal(related_mask(any_ontology, ids), expected)
    assert np.any(expected)


def test_old_ids_mean_their_terms(small):
    assert lin(small, "HP:9900020", "HP:9900006") == 1.0
    assert not related_mask(small, ["HP:9900020", "HP:9900006"]).any()
    assert related_mask(small, ["HP:9900020", "HP:9900004"])[0, 1]


def test_nothing_in_nothing_out(small):
    assert lin_similarities(small, [], []).shape == (0,)
    assert lin_matrix(small, [], ["HP:9900001"]).shape == (0, 1)
    assert related_mask(small, []).shape == (0, 0)


def test_bad_calls(small):
    with pytest.raises(ValueError, match="equally long, got 1 and 2"):
        lin_similarities(small, ["HP:9900001"], ["HP:9900001", "HP:9900002"])
    with pytest.raises(UnknownTermError, match="HP:9999999"):
        lin_matrix(small, ["HP:9900001"], ["HP:9999999"])


def test_speed(hpo):
    chosen = random.Random(5)
    phenotypes = hpo.term_ids()
    ids_a, ids_b = ([chosen.choice(phenotypes) for _ in range(20_000)] for _ in range(2))

    def seconds(function, *args):
        start = time.process_time()
        function(hpo, *args)
        return time.process_time() - start

    # Loose bounds: measured .02 s, .1 s and .0012 s on two idle cores.
    assert min(seconds(lin_similarities, ids_a, ids_b) for _ in range(2)) < 1
    assert min(seconds(lin_matrix, ids_a[:2000], ids_b[:2000]) for _ in range(2)) < 2
    assert min(seconds(related_mask, ids_a[:512]) for _ in range(3)) < 0.05
