"""Symmetric InfoNCE over matched pairs of embeddings, with known duplicates left out of the negatives."""

import torch
import torch.nn.functional as F
from torch import nn


class PairedContrastiveLoss(nn.Module):
    """Symmetric InfoNCE: row i of one side matches row i of the other; every other row is a negative.

    Used for image against caption (L_m) and for caption against the frozen teacher's embedding of it (L_kd). Costs
    one N x N product of width D.

    Args:
        mask_duplicates: Leave a row out of the negatives of another when they share any of their `group_ids`
            (the same caption, the same image); False gives the plain loss.

    Shapes (N rows of the whole batch, D width, G kinds of group):
        left_embeds, right_embeds: (N, D), unit norm. scale: scalar, multiplies cosine similarity.
        group_ids: (N, G) integers, or None. returns: scalar in nats, mean over rows and both directions.

    Relations: without duplicates, CLIP's loss.
    Source: Radford et al. 2021, arXiv 2103.00020, for InfoNCE in both directions; PhenoLIP (arXiv 2602.06184) for its
        use as L_m and L_kd. Leaving duplicates out is ours.

    Example:
        >>> eye = torch.eye(4)
        >>> round(PairedContrastiveLoss()(eye, eye, torch.tensor(1.0)).item(), 4)
        0.7437
    """

    def __init__(self, mask_duplicates: bool = True) -> None:
        super().__init__()
        self.mask_duplicates = mask_duplicates

    def forward(
        self,
        left_embeds: torch.Tensor,
        right_embeds: torch.Tensor,
        scale: torch.Tensor,
        group_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        logits = scale * left_embeds.float() @ right_embeds.float().T  # (N, N)
        if self.mask_duplicates and group_ids is not None:
            logits = logits.masked_fill(duplicate_mask(group_ids), float("-inf"))
        matches = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, matches) + F.cross_entropy(logits.T, matches)) / 2


def duplicate_mask(group_ids: torch.Tensor) -> torch.Tensor:
    """True where two different rows share a group.

    Shapes: group_ids (N, G); returns (N, N) bool, symmetric, False on the diagonal.
    """
    shared = (group_ids[:, None, :] == group_ids[None, :, :]).any(dim=-1)
    return shared.fill_diagonal_(False)
