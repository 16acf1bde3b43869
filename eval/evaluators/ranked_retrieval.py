"""Retrieval beyond the best k: whole rankings, the paired index alone, and captions without their labels' names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.masking import mask_captions
from phenolip.eval.evaluators.query_metrics import mean_metric, median_metric, pair_clusters
from phenolip.eval.evaluators.retrieval import matching_pairs, transpose
from phenolip.eval.metrics.answer_ranks import AnswerRanks, answer_ranks
from phenolip.eval.metrics.rank_metrics import (
    at_k,
    average_precision,
    chance_ranks,
    first_rank,
    ndcg,
    reciprocal_rank,
)
from phenolip.ontology.graph import PhenotypeOntology

DIRECTIONS = ("i2t", "t2i", "i2p", "p2i")


class RankedRetrievalEvaluator:
    """The directions of `RetrievalEvaluator` with metrics of the whole ranking, and two ways to make them harder.

    For each direction ``mean_average_precision``, ``ndcg`` (and ``ndcg_at_{k}``), ``mean_reciprocal_rank``,
    ``median_rank`` of the first right answer (lower is better) and ``precision_at_{k}``, group-aware: identical
    captions and images are right answers too. Beside them

    - ``_strict``: of images and captions the paired index alone is right, as the published protocol counts; an
      identical caption that ranks above it costs a place, and shares it in expectation where the scores are equal;
    - ``_masked``: captions without the name and synonyms of their own labels, group-aware by the captions as they
      were. How many captions name a label is in ``about``.

    Args:
        pairs: The pairs to score.
        ontology: Synonyms of the labels.
        ks: Cutoffs.
        masked: Measure ``_masked``, which encodes the captions once more.
    """

    primary_metric = "i2t_mean_average_precision"
    greater_is_better = True

    def __init__(
        self,
        pairs: EvaluationPairs,
        ontology: PhenotypeOntology,
        *,
        ks: Sequence[int] = (1, 5, 10, 50),
        masked: bool = True,
    ) -> None:
        self.pairs, self.ontology = pairs, ontology
        self.ks, self.masked = tuple(dict.fromkeys(ks)), masked
        self.clusters = pair_clusters(pairs)
        self.about: dict[str, Any] = {}

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """The metrics; those of phenotypes are left out when no row shows a candidate, and with them ``_masked``."""
        images, captions = self.pairs.embed_images(encoder), encoder.encode_texts(self.pairs.captions)
        matches = matching_pairs(self.pairs.caption_codes, self.pairs.image_codes)
        metrics: dict[str, MetricValue] = {}
        for name, queries, candidates in (("i2t", images, captions), ("t2i", captions, images)):
            ranks = answer_ranks(queries, candidates, matches)
            metrics |= self._whole(name, ranks, self.clusters)
            strict = ranks.only(ranks.columns == ranks.owners)
            metrics |= self._best(name, strict, "_strict") | self._whole(name, strict, self.clusters, "_strict")
        if any(len(row) for row in self.pairs.labels):
            metrics |= self._phenotypes(encoder, images)
            metrics |= self._masked(encoder, images, matches) if self.masked else {}
        return metrics

    def _phenotypes(self, encoder: SupportsEncoding, images: NDArray) -> dict[str, MetricValue]:
        names, labels = encoder.encode_texts(self.pairs.candidate_names), self.pairs.labels
        shown = transpose(labels, len(names))
        asked = [row for row, columns in enumerate(labels) if len(columns)]
        ranks = answer_ranks(images[asked], names, [labels[row] for row in asked])
        metrics = self._whole("i2p", ranks, self.clusters[asked])
        asked = [row for row, rows in enumerate(shown) if len(rows)]
        ranks = answer_ranks(names[asked], images, [shown[row] for row in asked])
        return metrics | self._whole("p2i", ranks, np.arange(len(asked)))

    def _masked(
        self, encoder: SupportsEncoding, images: NDArray, matches: Sequence[NDArray]
    ) -> dict[str, MetricValue]:
        masked = mask_captions(self.pairs, self.ontology)
        labelled = np.array([len(row) > 0 for row in self.pairs.labels])
        self.about["masking"] = {
            "num_captions": len(self.pairs),
            "num_labelled": int(labelled.sum()),
            "num_naming_a_label": int(masked.named.sum()),
            "num_spelling_a_label": int(masked.spelled.sum()),
        }
        captions = encoder.encode_texts(masked.captions)
        metrics = {}
        for name, queries, candidates in (("i2t", images, captions), ("t2i", captions, images)):
            ranks = answer_ranks(queries, candidates, matches)
            metrics |= self._best(name, ranks, "_masked") | self._whole(name, ranks, self.clusters, "_masked")
        return metrics

    def _best(self, name: str, ranks: AnswerRanks, suffix: str) -> dict[str, MetricValue]:
        """Hit rates, which `RetrievalEvaluator` gives for the plain protocol."""
        chance = chance_ranks(ranks)
        return {
            f"{name}_hit_at_{k}{suffix}": mean_metric(at_k(ranks, k)[0], self.clusters, at_k(chance, k)[0].mean())
            for k in self.ks
        }

    def _whole(self, name: str, ranks: AnswerRanks, clusters: NDArray, suffix: str = "") -> dict[str, MetricValue]:
        chance = chance_ranks(ranks)
        functions = {
            "mean_average_precision": average_precision,
            "ndcg": ndcg,
            "mean_reciprocal_rank": reciprocal_rank,
        }
        if not suffix:
            functions |= {f"ndcg_at_{k}": _ndcg_at(k) for k in self.ks}
            functions |= {f"precision_at_{k}": _precision_at(k) for k in self.ks}
        metrics = {
            f"{name}_{metric}{suffix}": mean_metric(function(ranks), clusters, float(function(chance).mean()))
            for metric, function in functions.items()
        }
        chance_median = float(np.median(first_rank(chance)))
        metrics[f"{name}_median_rank{suffix}"] = median_metric(first_rank(ranks), clusters, chance_median)
        return metrics


def _ndcg_at(k: int) -> Any:
    return lambda ranks: ndcg(ranks, k)


def _precision_at(k: int) -> Any:
    return lambda ranks: at_k(ranks, k)[1]
