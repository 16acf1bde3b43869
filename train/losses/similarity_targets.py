"""Soft targets: a text's softmax over the texts of other concepts follows their similarity in the ontology."""

import torch
from torch import nn


class SimilarityTargetLoss(nn.Module):
    """Kullback-Leibler divergence from the ontology's to the encoder's distribution over the other texts of a batch.

    Choose it to order each term's neighbours from near to far; what lies far from all gets little weight from it.
    Costs one N x N product.

    Args:
        target_temperature: Divides ontology similarity before the softmax; no unit, above 0. Small values put the
            weight on the nearest terms.

    Shapes (N texts of the whole batch, D width):
        embeds: (N, D), unit norm. concept_ids: (N,), row numbers in the ontology. scale: scalar, multiplies cosine.
        similarity: (N, N), ontology similarity of the texts' concepts.
        counted: (N, N) bool or None, True where a pair of different concepts is supervised; None counts all.
        returns: scalar in nats, 0 or above, mean over the texts with a supervised pair.

    Relations: texts of the same concept are left to the contrastive loss. With cosine x scale equal to similarity /
        target_temperature up to a constant, the loss is 0.
    Source: ours; the form is that of distillation by softened scores (Hinton et al. 2015, arXiv 1503.02531),
        with the ontology as the teacher.

    Example:
        >>> loss = SimilarityTargetLoss(target_temperature=0.5)
        >>> embeds = torch.eye(3)
        >>> round(loss(embeds, torch.arange(3), torch.tensor(2.0), torch.eye(3)).item(), 4)
        0.0
    """

    def __init__(self, target_temperature: float) -> None:
        super().__init__()
        if target_temperature <= 0:
            raise ValueError(f"`target_temperature` must be above 0, got {target_temperature}.")
        self.target_temperature = target_temperature

    def forward(
        self,
        embeds: torch.Tensor,
        concept_ids: torch.Tensor,
        scale: torch.Tensor,
        similarity: torch.Tensor,
        counted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        embeds = embeds.float()
        pairs = concept_ids[:, None] != concept_ids[None, :]
        if counted is not None:
            pairs = pairs & counted
        asked = pairs.any(dim=1)
        if not asked.any():
            return embeds.sum() * 0
        outside = ~pairs[asked]
        logits = (scale * embeds[asked] @ embeds.T).masked_fill(outside, float("-inf"))
        targets = (similarity[asked].to(logits.dtype) / self.target_temperature).masked_fill(outside, float("-inf"))
        difference = (targets.log_softmax(dim=1) - logits.log_softmax(dim=1)).masked_fill(outside, 0.0)
        return (targets.softmax(dim=1) * difference).sum(dim=1).mean()
