"""How well a detector finds the subfigures of figures whose boxes are known."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.metrics.bootstrap import QUANTILES, resample_counts
from phenolip.eval.metrics.subfigure_boxes import MIN_IOU, Boxes, count_boxes, precision_recall_f1
from phenolip.images import decode_image
from phenolip.phenokg.subfigures.detr_subfigures import DetrDetector

NUM_FIGURES_HELD = 256  # decoded images in memory

Detector = Callable[[Sequence[Image.Image]], Sequence[Boxes]]


class SubfigureEvaluator:
    """Micro precision, recall and F1 of boxes at IoU 0.75, and the share of single images that are left whole.

    Asks any function from images to boxes, so that a trained detector and one by rules are measured alike.

    Args:
        figures: Image file and gold boxes in its pixels, of each figure.
    """

    primary_metric = "subfigure_f1"
    greater_is_better = True

    def __init__(self, figures: Sequence[tuple[Path, Boxes]]) -> None:
        self.figures = figures

    def __call__(self, detect: Detector) -> dict[str, MetricValue]:
        """`subfigure_` with `precision`, `recall` and `f1`; `single_left_whole` where there are single images.

        Intervals come from resampled figures.
        """
        counts = np.array(list(self._counts(detect)))  # (figures, gold found matched)
        totals = np.concatenate([weights @ counts for weights in resample_counts(len(counts))])
        intervals = np.quantile(precision_recall_f1(totals), QUANTILES, axis=0).T
        names = ("subfigure_precision", "subfigure_recall", "subfigure_f1")
        values = precision_recall_f1(counts.sum(axis=0))
        metrics = {
            name: MetricValue(float(value), (float(low), float(high)), len(counts))
            for name, value, (low, high) in zip(names, values, intervals, strict=True)
        }
        return metrics | _single_left_whole(counts)

    def _counts(self, detect: Detector) -> Iterator[tuple[int, int, int]]:
        for start in range(0, len(self.figures), NUM_FIGURES_HELD):
            figures = self.figures[start : start + NUM_FIGURES_HELD]
            found = detect([decode_image(path) for path, _ in figures])
            for (_, gold), boxes in zip(figures, found, strict=True):
                count = count_boxes(gold, boxes, min_iou=MIN_IOU)
                yield count.num_gold, count.num_found, count.num_matched


def _single_left_whole(counts: NDArray) -> dict[str, MetricValue]:
    """Share of the figures of one image in which one box was found, and that was right."""
    single = counts[counts[:, 0] == 1]
    if not len(single):
        return {}
    is_whole = (single[:, 1:] == 1).all(axis=1)
    totals = np.concatenate([weights @ is_whole for weights in resample_counts(len(single))])
    low, high = np.quantile(totals / len(single), QUANTILES)
    return {"single_left_whole": MetricValue(float(is_whole.mean()), (float(low), float(high)), len(single))}


def measure_model(
    model: Any, processor: Any, figures: Sequence[tuple[Path, Boxes]], *, score_threshold: float, batch_size: int
) -> dict[str, MetricValue]:
    """Metrics of a detector of `transformers` as PhenoKG calls it, cleaning of boxes included.

    Args:
        model: For object detection, on its device.
        processor: Image processor of the model.
        figures: Image file and gold boxes of each figure.
        score_threshold: Boxes that score less are left out.
        batch_size: Figures that go through the model together.
    """
    return SubfigureEvaluator(figures)(DetrDetector(model.eval(), processor, score_threshold, batch_size))
