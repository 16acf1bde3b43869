"""The true-path rule: an image with a phenotype also shows its ancestors, and may show any of its descendants."""

from collections.abc import Sequence

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.train.targets.phenotype_targets import PhenotypeTargets, distinct_labels


class ClosureTargets(PhenotypeTargets):
    """Labels and their informative ancestors are true; strict descendants are left open.

    An image labelled "Cataract" shows an abnormality of the lens; whether the cataract is nuclear was not said.
    Ancestors below the floor of information are true of nearly everything: they are no candidates, and where one is
    another row's label it is left open too.

    Args:
        hpo_ids: For each row, its primary HPO ids; may be empty.
        ontology: Source of is_a.
        min_information: Least information content, in nats, of an ancestor that counts as true. HP:0000118 has 0, a
            term without descendants 9.8 (HPO 2025-01-16); at 5.0 an ancestor has at most about 120 descendants.

    Relations: MultiHotTargets with the graph taken into account.
    Source: the true-path rule of the Gene Ontology (Ashburner et al. 2000); floor and masking are ours.
    """

    def __init__(
        self, hpo_ids: Sequence[Sequence[str]], ontology: PhenotypeOntology, *, min_information: float = 5.0
    ) -> None:
        labels = distinct_labels(hpo_ids)
        ancestors = {label: set(ontology.ancestors(label)) for label in labels}
        informative = {
            ancestor
            for ancestor in set().union(*ancestors.values())
            if ontology.is_phenotype(ancestor) and ontology.information_content(ancestor) >= min_information
        }
        candidates = sorted(informative.union(labels))
        row_of = {label: row for row, label in enumerate(labels)}
        column_of = {candidate: column for column, candidate in enumerate(candidates)}
        values = np.zeros((len(labels), len(candidates)), dtype=np.float32)
        valid = np.ones(values.shape, dtype=bool)
        for label, row in row_of.items():
            values[row, column_of[label]] = 1.0
            for ancestor in ancestors[label] & column_of.keys():
                if ancestor in informative:
                    values[row, column_of[ancestor]] = 1.0
                else:  # another row's label, too general to be said of this one
                    valid[row, column_of[ancestor]] = False
        for candidate, column in column_of.items():
            for label in row_of.keys() & set(ontology.ancestors(candidate)):
                valid[row_of[label], column] = False
        super().__init__(hpo_ids, candidates, values, valid)
