"""`evaluate` module: how near one predicted HPO term is to the terms of an image, read with the ontology."""

import datasets
import evaluate
import numpy as np

from phenolip.eval.metrics.module_info import module_info
from phenolip.eval.ontology_scores import OntologyScores
from phenolip.ontology.reader import load_ontology

DESCRIPTION = (
    "Hierarchical precision, recall and F1 (Kiritchenko et al. 2006), Lin similarity and depth of the lowest common "
    "ancestor of a predicted HPO term and the nearest label."
)
INPUTS = """
Args:
    predictions: One HPO id an image.
    references: The HPO ids of each image; none may be empty.
    hpo: Path of an hp.obo or hp.json (default: the release that is installed).
"""


class HierarchicalScores(evaluate.Metric):
    """Means over images of the scores of `phenolip.eval.ontology_scores`."""

    def _info(self) -> evaluate.MetricInfo:
        return module_info(DESCRIPTION, INPUTS, datasets.Value("string"), datasets.Sequence(datasets.Value("string")))

    def _compute(self, predictions: list, references: list, hpo: str | None = None) -> dict[str, float]:
        ontology = load_ontology(hpo)
        labels = [sorted({ontology.resolve(term) for term in row}) for row in references]
        answers = [ontology.resolve(term) for term in predictions]
        places = {term: place for place, term in enumerate(sorted({*answers, *(t for row in labels for t in row)}))}
        near = OntologyScores(ontology, tuple(places)).nearness([np.array([places[t] for t in row]) for row in labels])
        chosen = [(one, places[answer]) for one, answer in zip(near, answers, strict=True)]
        names = {"lin_similarity": "lin", "lca_depth": "depth"} | {
            f"hierarchical_{part}": part for part in ("precision", "recall", "f1")
        }
        return {
            name: float(np.mean([getattr(one, part)[place] for one, place in chosen])) for name, part in names.items()
        }
