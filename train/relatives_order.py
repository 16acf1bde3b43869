"""An order of the terms in which they meet their relatives."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology

_ATTEMPTS = 8  # draws of a relative that is still free, before its place goes to the next anchor


class RelativesOrder:
    """A RowOrder that puts relatives of a term beside it: the hard negatives that a uniform batch hardly holds.

    Anchors are taken in random order; each is followed by terms that are drawn below one of its ancestors, as far as
    they are still free in this epoch. The groups are then shuffled. Every term therefore comes once an epoch; of the
    terms left over towards the end, some stand alone, spread over all batches.

    Args:
        hpo_ids: Term of each row.
        ontology: Source of is_a.
        num_relatives: Relatives asked for each anchor, 0 or above.
        below: Where they are drawn: "parent", below one of the anchor's parents (siblings, mostly), or "ancestor",
            below any of its ancestors under HP:0000118, each as likely (nearer and farther relatives).
        seed: With the epoch, fixes the order.
    """

    def __init__(
        self,
        hpo_ids: Sequence[str],
        ontology: PhenotypeOntology,
        *,
        num_relatives: int,
        below: Literal["parent", "ancestor"],
        seed: int,
    ) -> None:
        self.num_rows, self.seed = len(hpo_ids), seed
        self.num_relatives = num_relatives
        row_of = {hpo_id: row for row, hpo_id in enumerate(hpo_ids)}
        members: dict[str, list[int]] = defaultdict(list)
        self._sources: list[list[str]] = []
        for hpo_id in hpo_ids:
            ancestors = [a for a in ontology.ancestors(hpo_id) if a in row_of and a != PHENOTYPIC_ABNORMALITY]
            for ancestor in (*ancestors, hpo_id):
                members[ancestor].append(row_of[hpo_id])
            parents = set(ontology.parents(hpo_id))
            self._sources.append([a for a in ancestors if below == "ancestor" or a in parents])
        self._members = {ancestor: np.array(rows) for ancestor, rows in members.items()}

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        free = np.ones(self.num_rows, dtype=bool)
        groups = []
        for anchor in rng.permutation(self.num_rows).tolist():
            if not free[anchor]:
                continue
            free[anchor] = False
            group = [anchor]
            for _ in range(self.num_relatives):
                relative = self._draw(anchor, free, rng)
                if relative is not None:
                    free[relative] = False
                    group.append(relative)
            groups.append(group)
        return np.concatenate([groups[place] for place in rng.permutation(len(groups))])

    def _draw(self, anchor: int, free: np.ndarray, rng: np.random.Generator) -> int | None:
        sources = self._sources[anchor]
        for _ in range(_ATTEMPTS if sources else 0):
            members = self._members[sources[rng.integers(len(sources))]]
            relative = int(members[rng.integers(len(members))])
            if free[relative]:
                return relative
        return None
