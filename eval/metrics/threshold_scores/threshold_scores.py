"""`evaluate` module: F1 and accuracy at the threshold of the highest F1, AUROC, AUPRC, P@K, class by class."""

import datasets
import evaluate
import numpy as np

from phenolip.eval.metrics.module_info import module_info
from phenolip.eval.metrics.thresholds import threshold_metrics

DESCRIPTION = (
    "Macro means over classes as MedFILIP (arXiv 2501.10775) decides: a threshold of the highest F1 a class, fitted "
    "on validation images; fitted on the scored images themselves, the names say `oracle`."
)
INPUTS = """
Args:
    predictions: One row of scores an image, one score a class.
    references: One row an image of 1, 0, or -1 for uncertain.
    validation_predictions: As predictions, of other images; without them thresholds are fitted on what is scored.
    validation_references: As references, of these.
    ks: Cutoffs of precision among the highest scores (default 1, 5, 10).
"""


class ThresholdScores(evaluate.Metric):
    """The macro means of `phenolip.eval.metrics.thresholds.threshold_metrics`."""

    def _info(self) -> evaluate.MetricInfo:
        scores, labels = (datasets.Sequence(datasets.Value(kind)) for kind in ("float64", "int64"))
        return module_info(DESCRIPTION, INPUTS, scores, labels)

    def _compute(
        self,
        predictions: list,
        references: list,
        validation_predictions: list | None = None,
        validation_references: list | None = None,
        ks: tuple = (1, 5, 10),
    ) -> dict[str, float]:
        fitting = None
        if validation_predictions is not None:
            fitting = (np.asarray(validation_predictions), np.asarray(validation_references))
        found = threshold_metrics(
            np.asarray(predictions),
            np.asarray(references),
            fit_on="val" if fitting else "test",
            validation=fitting,
            ks=ks,
        )
        return found.macro() | {"num_classes_scored": found.num_classes_scored}
