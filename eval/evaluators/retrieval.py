"""Cross-modal retrieval among the pairs (I2T, T2I) and between images and phenotype names (I2P, P2I)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding, ranking_metrics
from phenolip.eval.metrics.ranking import rank_candidates


class RetrievalEvaluator:
    """Hit rate and fractional recall at k in four directions.

    Image -> caption and caption -> image run over all N pairs; candidates with the query's caption (case and white
    space folded) or the query's image (same file) are all matches, not only the partner. Image -> phenotype ranks the
    candidate phenotypes by their bare name, over the images that show a candidate; phenotype -> image ranks all N
    images, over the phenotypes that at least one image shows.

    The published description gives the four directions at 10 and 50, and neither the treatment of ties and duplicates
    nor whether a phenotype query counts any hit or the share found (PhenoLIP, arXiv 2602.06184): both are reported.

    Args:
        pairs: The pairs to score.
        ks: Cutoffs; one above the number of candidates reads as that number.
    """

    primary_metric = "i2t_hit_at_10"
    greater_is_better = True

    def __init__(self, pairs: EvaluationPairs, *, ks: Sequence[int] = (1, 5, 10, 50)) -> None:
        self.pairs = pairs
        self.ks = tuple(dict.fromkeys(ks))

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """``{i2t,t2i,i2p,p2i}_{hit,recall}_at_{k}``; i2p and p2i are left out when no row shows a candidate."""
        images, captions = self.pairs.embed_images(encoder), encoder.encode_texts(self.pairs.captions)
        matches = matching_pairs(self.pairs.caption_codes, self.pairs.image_codes)
        metrics = self._direction("i2t", images, captions, matches)
        metrics |= self._direction("t2i", captions, images, matches)
        if any(len(row) for row in self.pairs.labels):
            names = encoder.encode_texts(self.pairs.candidate_names)
            metrics |= self._direction("i2p", images, names, self.pairs.labels)
            metrics |= self._direction("p2i", names, images, transpose(self.pairs.labels, len(names)))
        return metrics

    def _direction(
        self, name: str, queries: NDArray, candidates: NDArray, relevant: Sequence[NDArray]
    ) -> dict[str, MetricValue]:
        answered = [row for row, columns in enumerate(relevant) if len(columns)]
        values = rank_candidates(queries[answered], candidates, [relevant[row] for row in answered], self.ks)
        return ranking_metrics(name, values, self.ks)


def scaled_cutoff(num_pairs: int, reference: int) -> int:
    """The cutoff that asks as much of N pairs as 10 asks of a reference number: round(10 N / reference), at least 1.

    A tie of rounding goes up. Chance of a hit is then about the same on sets of different size.

    Example:
        >>> scaled_cutoff(722, 722), scaled_cutoff(418, 722), scaled_cutoff(20, 722)
        (10, 6, 1)
    """
    return max(1, int(10 * num_pairs / reference + 0.5))


def matching_pairs(caption_codes: NDArray, image_codes: NDArray) -> list[NDArray]:
    """For each pair the rows of all pairs that share its caption or its image, itself included.

    Example:
        >>> [rows.tolist() for rows in matching_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]))]
        [[0, 1], [0, 1, 2], [1, 2]]
    """
    by_caption, by_image = _members(caption_codes), _members(image_codes)
    codes = zip(caption_codes, image_codes, strict=True)
    return [np.union1d(by_caption[caption], by_image[image]) for caption, image in codes]


def transpose(labels: Sequence[NDArray], num_candidates: int) -> list[NDArray]:
    """For each candidate the rows whose labels hold it.

    Example:
        >>> [rows.tolist() for rows in transpose([np.array([1]), np.array([0, 1])], 3)]
        [[1], [0, 1], []]
    """
    rows = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
    columns = np.concatenate(labels)
    order = np.argsort(columns, kind="stable")
    bounds = np.searchsorted(columns[order], np.arange(1, num_candidates))
    return np.split(rows[order], bounds)


def _members(codes: NDArray) -> list[NDArray]:
    return transpose(codes[:, None], int(codes.max()) + 1)
