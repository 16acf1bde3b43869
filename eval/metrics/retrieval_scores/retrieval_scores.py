"""`evaluate` module: hit rate, recall, precision, mAP, nDCG and ranks, with ties in expectation."""

import datasets
import evaluate
import numpy as np

from phenolip.eval.metrics.answer_ranks import score_ranks
from phenolip.eval.metrics.module_info import module_info
from phenolip.eval.metrics.rank_metrics import at_k, average_precision, first_rank, ndcg, reciprocal_rank

DESCRIPTION = "Retrieval scores of a table of scores; equal scores count in expectation over their orders."
INPUTS = """
Args:
    predictions: One row of scores a query, one score a candidate.
    references: For each query the columns of the candidates that answer it; none may be empty.
    ks: Cutoffs (default 1, 5, 10).
"""


class RetrievalScores(evaluate.Metric):
    """Means over queries of the metrics of `phenolip.eval.metrics.rank_metrics`."""

    def _info(self) -> evaluate.MetricInfo:
        scores, labels = (datasets.Sequence(datasets.Value(kind)) for kind in ("float64", "int64"))
        return module_info(DESCRIPTION, INPUTS, scores, labels)

    def _compute(self, predictions: list, references: list, ks: tuple = (1, 5, 10)) -> dict[str, float]:
        ranks = score_ranks(predictions, references)
        found = {}
        for k in ks:
            for name, values in zip(("hit", "precision", "recall"), at_k(ranks, k), strict=True):
                found[f"{name}_at_{k}"] = float(values.mean())
            found[f"ndcg_at_{k}"] = float(ndcg(ranks, k).mean())
        found["mean_average_precision"] = float(average_precision(ranks).mean())
        found["ndcg"] = float(ndcg(ranks).mean())
        found["mean_reciprocal_rank"] = float(reciprocal_rank(ranks).mean())
        found["median_rank"] = float(np.median(first_rank(ranks)))
        return found
