"""How many is_a edges lie between two phenotypes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology


class IsADistance:
    """Fewest is_a edges from one term up to an ancestor that both share, and down to the other.

    The distances of every term to its ancestors are kept, so that the distances among a few hundred terms take
    milliseconds.

    Args:
        ontology: The release.

    Example:
        >>> from phenolip.ontology import PhenotypeTerm
        >>> root = PhenotypeTerm("HP:0000118", "Abnormality")
        >>> eye, ear = (PhenotypeTerm(f"HP:000000{i}", "Part", parents=("HP:0000118",)) for i in (1, 2))
        >>> ontology = PhenotypeOntology([root, eye, ear], release="2000-01-01")
        >>> IsADistance(ontology).matrix(["HP:0000001", "HP:0000118", "HP:0000002"])[0].tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(self, ontology: PhenotypeOntology) -> None:
        self.ontology = ontology
        self._up: dict[str, dict[str, int]] = {}

    def matrix(self, term_ids: Sequence[str]) -> np.ndarray:
        """Distances in edges among the terms; infinite where two have no common ancestor.

        Shapes (n terms): returns (n, n) float64, symmetric, 0 between a term and itself.
        """
        below = defaultdict(list)  # ancestor -> (position, edges) of the terms at or below it
        for position, term_id in enumerate(term_ids):
            for ancestor, edges in self._edges_up(term_id).items():
                below[ancestor].append((position, edges))
        distances = np.full((len(term_ids), len(term_ids)), np.inf)
        for members in below.values():
            positions, edges = np.array(members).T
            block = np.ix_(positions, positions)
            distances[block] = np.minimum(distances[block], edges[:, None] + edges[None, :])
        return distances

    def _edges_up(self, term_id: str) -> dict[str, int]:
        """Fewest edges from the term to each of its ancestors and itself."""
        term_id = self.ontology.resolve(term_id)
        if term_id not in self._up:
            edges = {term_id: 0}
            level = [term_id]
            while level:
                parents = dict.fromkeys(parent for child in level for parent in self.ontology.parents(child))
                depth = edges[level[0]] + 1
                level = [parent for parent in parents if parent not in edges]
                edges |= dict.fromkeys(level, depth)
            self._up[term_id] = edges
        return self._up[term_id]
