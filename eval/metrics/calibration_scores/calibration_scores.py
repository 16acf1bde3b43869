"""`evaluate` module: expected calibration error, Brier score and accuracy of class logits or probabilities."""

import datasets
import evaluate
import numpy as np

from phenolip.eval.metrics.calibration import brier_score, expected_calibration_error, fit_temperature, softmax
from phenolip.eval.metrics.module_info import module_info

DESCRIPTION = "Calibration of the softmax of logits, at a temperature that is given or fitted on validation images."
INPUTS = """
Args:
    predictions: One row of logits an image, one a class; logarithms of probabilities are such.
    references: The column of the right class of each image.
    temperature: What logits are divided by (default 1).
    validation_predictions: Logits of other images, on which the temperature is fitted instead.
    validation_references: The right classes of these.
    num_bins: Bins of the calibration error (default 15).
"""


class CalibrationScores(evaluate.Metric):
    """The scores of `phenolip.eval.metrics.calibration`."""

    def _info(self) -> evaluate.MetricInfo:
        return module_info(DESCRIPTION, INPUTS, datasets.Sequence(datasets.Value("float64")), datasets.Value("int64"))

    def _compute(
        self,
        predictions: list,
        references: list,
        temperature: float = 1.0,
        validation_predictions: list | None = None,
        validation_references: list | None = None,
        num_bins: int = 15,
    ) -> dict[str, float]:
        if validation_predictions is not None:
            temperature = fit_temperature(np.asarray(validation_predictions), np.asarray(validation_references))
        chances, labels = softmax(np.asarray(predictions), temperature), np.asarray(references)
        right, sure = chances.argmax(axis=1) == labels, chances.max(axis=1)
        return {
            "ece_equal_width": expected_calibration_error(sure, right, num_bins=num_bins),
            "ece_equal_mass": expected_calibration_error(sure, right, binning="equal_mass", num_bins=num_bins),
            "brier": brier_score(chances, labels),
            "accuracy": float(right.mean()),
            "temperature": float(temperature),
        }
