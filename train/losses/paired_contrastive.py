"""Symmetric InfoNCE over matched pairs of embeddings, with known duplicates left out of the negatives."""

import torch
import torch.nn.functional as F
from torch import nn

from phenolip.train.losses.gather import gather_embeds, gather_ids, rank


class PairedContrastiveLoss(nn.Module):
    """Symmetric InfoNCE: row i of one side matches row i of the other; every other row is a negative.

    Used for image against caption (L_m) and for caption against the frozen teacher's embedding of it (L_kd). Costs
    two N x N products of width D.

    Args:
        mask_duplicates: Leave a row out of the negatives of another when they share any of their `group_ids`
            (the same caption, the same image); False gives the plain loss.

    Shapes (n rows here, N = n times the number of processes, D width, G kinds of group):
        left_embeds, right_embeds: (n, D), unit norm. scale: scalar, multiplies cosine similarity.
        group_ids: (n, G) integers, or None. returns: scalar in nats, mean over rows and both directions.

    Relations: without duplicates, CLIP's loss. Under DistributedDataParallel, gradients equal those of one process
        with the whole batch.
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
        left_embeds, right_embeds = left_embeds.float(), right_embeds.float()
        num_rows = left_embeds.shape[0]
        all_left, all_right = gather_embeds(left_embeds), gather_embeds(right_embeds)
        matches = torch.arange(num_rows, device=left_embeds.device) + rank() * num_rows
        left_logits = scale * left_embeds @ all_right.T  # (n, N)
        right_logits = scale * right_embeds @ all_left.T  # (n, N)
        if self.mask_duplicates and group_ids is not None:
            excluded = duplicate_mask(group_ids, matches)
            left_logits = left_logits.masked_fill(excluded, float("-inf"))
            right_logits = right_logits.masked_fill(excluded, float("-inf"))
        return (F.cross_entropy(left_logits, matches) + F.cross_entropy(right_logits, matches)) / 2


def duplicate_mask(group_ids: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    """True where a row of the whole batch shares a group with a row here and is not its own match.

    Shapes: group_ids (n, G), matches (n,) column of each row's own match; returns (n, N) bool.
    """
    all_groups = gather_ids(group_ids)
    shared = (group_ids[:, None, :] == all_groups[None, :, :]).any(dim=-1)
    return shared.scatter(1, matches[:, None], False)
