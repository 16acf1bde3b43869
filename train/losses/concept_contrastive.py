"""Multi-positive InfoNCE over the texts of phenotypes: the knowledge encoder's loss."""

import torch
from torch import nn


class ConceptContrastiveLoss(nn.Module):
    """InfoNCE over phenotype texts: texts of one term attract, all others repel.

    Choose it to train a knowledge encoder when each term brings two or more texts; costs one N x N product.

    Shapes (N texts of the whole batch, D width):
        embeds: (N, D), unit norm. concept_ids: (N,), row numbers in the ontology. scale: scalar, 1 / temperature.
        excluded: (N, N) bool or None, True where a pair is neither positive nor negative (relatives of a term).
        returns: scalar in nats, mean over the texts that have a positive.

    Relations: with two texts per concept and no mask, the paper's Stage 1 loss (NT-Xent). With more, the SupCon form
        that averages log-probabilities over positives ("out").
    Source: Khosla et al. 2020, arXiv 2004.11362, eq. 2; PhenoLIP, arXiv 2602.06184, L_k. Deviation: relatives can be
        left out of the denominator, as KEEP does.

    Example:
        >>> embeds = torch.eye(2).repeat_interleave(2, dim=0)
        >>> round(ConceptContrastiveLoss()(embeds, torch.tensor([0, 0, 1, 1]), torch.tensor(1.0)).item(), 4)
        0.5514
    """

    def forward(
        self,
        embeds: torch.Tensor,
        concept_ids: torch.Tensor,
        scale: torch.Tensor,
        excluded: torch.Tensor | None = None,
    ) -> torch.Tensor:
        embeds = embeds.float()
        itself = torch.eye(len(embeds), dtype=torch.bool, device=embeds.device)
        positive = (concept_ids[:, None] == concept_ids[None, :]) & ~itself  # (N, N)
        logits = scale * embeds @ embeds.T
        if excluded is not None:
            logits = logits.masked_fill(excluded & ~positive, float("-inf"))
        logits = logits.masked_fill(itself, float("-inf"))
        log_probability = logits - logits.logsumexp(dim=1, keepdim=True)
        num_positives = positive.sum(dim=1)
        per_text = -log_probability.masked_fill(~positive, 0.0).sum(dim=1) / num_positives.clamp(min=1)
        return per_text[num_positives > 0].mean() if (num_positives > 0).any() else logits.new_zeros(())
