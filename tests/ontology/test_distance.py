import itertools

import numpy as np
import pytest

from phenolip.exceptions import UnknownTermError
from phenolip.ontology.distance import IsADistance


def edges_up(ontology, term_id):
    """All path lengths from a term to each ancestor, the shortest kept."""
    found = {term_id: 0}
    for parent in ontology.parents(term_id):
        for ancestor, edges in edges_up(ontology, parent).items():
            found[ancestor] = min(edges + 1, found.get(ancestor, 10**6))
    return found


def test_distances_of_all_pairs_equal_the_shortest_way_over_a_common_ancestor(small):
    ids = list(small)
    matrix = IsADistance(small).matrix(ids)
    for (i, a), (j, b) in itertools.product(enumerate(ids), repeat=2):
        up_a, up_b = edges_up(small, a), edges_up(small, b)
        assert matrix[i, j] == min(up_a[c] + up_b[c] for c in up_a.keys() & up_b.keys())


def test_known_distances_in_the_release(hpo):
    # arachnodactyly under long fingers under abnormal finger morphology, and a term of another system
    distance = IsADistance(hpo)
    parent = hpo.parents("HP:0001166")[0]
    matrix = distance.matrix(["HP:0001166", parent, "HP:0000118", "HP:0001166"])
    assert matrix[0, 1] == 1 and matrix[0, 3] == 0
    assert matrix[0, 2] == hpo.depth("HP:0001166")
    assert np.array_equal(matrix, matrix.T)


def test_aliases_mean_their_term_and_unknown_ids_are_refused(small):
    assert IsADistance(small).matrix(["HP:9900020", "HP:9900006"])[0, 1] == 0
    with pytest.raises(UnknownTermError):
        IsADistance(small).matrix(["HP:0000000"])
