"""Linear correlation of cosine with the similarity of concepts in the ontology."""

import torch
from torch import nn


class SimilarityCorrelationLoss(nn.Module):
    """One minus Pearson's correlation of cosine with ontology similarity, over the pairs of texts of a batch.

    Choose it to give the space the shape of the ontology beside a contrastive loss: it asks for no particular cosine,
    only that cosine rise with similarity, so that it leaves the contrastive loss its gap between one term's texts and
    all others. Costs one N x N product.

    Two correlations are averaged. Over all pairs of different concepts, most of which lie in different systems and
    have similarity 0: it tells related from unrelated. Over the related pairs, similarity above 0, weighted so that
    each of `num_bins` equal ranges of similarity counts alike: most related pairs of a batch are distant, and would
    leave the order of near ones to chance. A range with less than 1 / `num_bins`**2 of the pairs counts for less.

    Args:
        num_bins: Ranges of similarity of related pairs; 1 weighs all related pairs alike.

    Shapes (N texts of the whole batch, D width):
        embeds: (N, D), unit norm. concept_ids: (N,), row numbers in the ontology. scale: unused, for the common call.
        similarity: (N, N), ontology similarity of the texts' concepts, 0 or above.
        counted: (N, N) bool or None, True where a pair of different concepts is supervised; None counts all.
        returns: scalar in [0, 2], no unit; a correlation of fewer than two different pairs counts as 0.

    Relations: Spearman's correlation is Pearson's of the ranks; Lin's similarities of related terms are spread evenly,
        so that the two differ little. Huang et al. 2022 (DIST, arXiv 2205.10536) use it between the scores of a
        teacher and a student.
    Source: ours.

    Example:
        >>> embeds = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = SimilarityCorrelationLoss()
        >>> round(loss(embeds, torch.arange(4), torch.tensor(1.0), embeds @ embeds.T).item(), 4)
        0.0
    """

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__()
        if num_bins < 1:
            raise ValueError(f"`num_bins` must be 1 or more, got {num_bins}.")
        self.num_bins = num_bins

    def forward(
        self,
        embeds: torch.Tensor,
        concept_ids: torch.Tensor,
        scale: torch.Tensor,
        similarity: torch.Tensor,
        counted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        embeds = embeds.float()
        cosine, similarity = embeds @ embeds.T, similarity.to(embeds.dtype)
        pairs = concept_ids[:, None] != concept_ids[None, :]
        if counted is not None:
            pairs = pairs & counted
        everywhere = _pearson(cosine, similarity, pairs.to(cosine.dtype))
        return 1 - (everywhere + _pearson(cosine, similarity, self._balanced(similarity, pairs))) / 2

    def _balanced(self, similarity: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """(N, N) weights of the related pairs, 0 elsewhere."""
        related = pairs & (similarity > 0)
        bins = (similarity.clamp(0, 1) * self.num_bins).long().clamp(max=self.num_bins - 1)
        counts = bins[related].bincount(minlength=self.num_bins)  # (num_bins,)
        counts = counts.clamp(min=max(1.0, float(counts.sum()) / self.num_bins**2))
        return related.to(similarity.dtype) / counts[bins]


def _pearson(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted correlation of x and y, scalar; 0 where one of them does not vary."""
    weight = weight / weight.sum().clamp(min=1e-12)
    x = x - (x * weight).sum()
    y = y - (y * weight).sum()
    variances = (weight * x.square()).sum() * (weight * y.square()).sum()
    return (weight * x * y).sum() / variances.clamp(min=1e-12).sqrt()
