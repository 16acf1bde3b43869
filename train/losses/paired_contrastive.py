"""Symmetric InfoNCE over matched pairs of embeddings, with duplicates left out and soft matches if there are any."""

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

    With `fit`, the target of a row is (1 - fit_weight) on its partner plus fit_weight spread over all rows in
    proportion to `fit`; pairs that are not `known` are left out like duplicates. A weight for each row holds for that
    row of either side.

    Shapes (N rows of the whole batch, D width, G kinds of group):
        left_embeds, right_embeds: (N, D), unit norm. scale: scalar, multiplies cosine similarity.
        group_ids: (N, G) integers, or None. fit: (N, N) in [0, 1], left along the rows, or None. known: (N, N) bool,
        left along the rows, or None. fit_weight: number or (N,), in [0, 1].
        returns: scalar in nats, mean over rows and both directions.

    Relations: without duplicates and fit, CLIP's loss.
    Source: Radford et al. 2021, arXiv 2103.00020, for InfoNCE in both directions; PhenoLIP (arXiv 2602.06184) for its
        use as L_m and L_kd. Leaving duplicates out and mixing `fit` into the target are ours.

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
        fit: torch.Tensor | None = None,
        known: torch.Tensor | None = None,
        fit_weight: float | torch.Tensor = 0.0,
    ) -> torch.Tensor:
        logits = scale * left_embeds.float() @ right_embeds.float().T  # (N, N)
        excluded = torch.zeros_like(logits, dtype=torch.bool)
        if self.mask_duplicates and group_ids is not None:
            excluded = duplicate_mask(group_ids)
        if known is not None:
            own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
            excluded = excluded | ~(known | own)
        logits = logits.masked_fill(excluded, float("-inf"))
        if fit is None or (isinstance(fit_weight, float) and not fit_weight):
            matches = torch.arange(len(logits), device=logits.device)
            return (F.cross_entropy(logits, matches) + F.cross_entropy(logits.T, matches)) / 2
        fit = fit.masked_fill(excluded, 0.0)
        return (_mixed_entropy(logits, fit, fit_weight) + _mixed_entropy(logits.T, fit.T, fit_weight)) / 2


def _mixed_entropy(logits: torch.Tensor, fit: torch.Tensor, fit_weight: float | torch.Tensor) -> torch.Tensor:
    """Cross-entropy against (1 - fit_weight) identity + fit_weight fit, each row of `fit` made to sum to 1."""
    own = torch.eye(len(fit), device=fit.device)
    total = fit.sum(dim=1, keepdim=True)
    spread = torch.where(total > 0, fit / total.clamp(min=torch.finfo(fit.dtype).tiny), own)  # no fit: all on itself
    weight = torch.as_tensor(fit_weight, device=fit.device).reshape(-1, 1)
    target = (1 - weight) * own + weight * spread
    log_probability = logits.log_softmax(dim=1)
    return -(target * log_probability.masked_fill(target == 0, 0.0)).sum(dim=1).mean()


def duplicate_mask(group_ids: torch.Tensor) -> torch.Tensor:
    """True where two different rows share a group.

    Shapes: group_ids (N, G); returns (N, N) bool, symmetric, False on the diagonal.
    """
    shared = (group_ids[:, None, :] == group_ids[None, :, :]).any(dim=-1)
    return shared.fill_diagonal_(False)
