"""AdaSP: one adaptively chosen positive and the hardest negatives of each concept, instead of all pairs."""

import torch
from torch import nn


class AdaSPLoss(nn.Module):
    """Contrasts concepts, each by one sparse positive similarity, blended between its hardest and its least hard pair.

    Choose it with many texts a concept (KEP takes 8), some of which fit badly: the least hard pair keeps one bad text
    from pulling the whole concept. With two texts a concept there is one pair, and little to choose from. Costs one
    N x N product and a few passes over it.

    With s the cosines times the scale, for every concept i of the batch:
        hardest positive     H_i = -log sum over its texts n, m != n of exp(-s_nm)
        least hard positive  L_i = log sum over its texts n of 1 / (sum over m != n of exp(-s_nm))
        negatives            B_ij = log sum over its texts n and the texts m of concept j of exp(s_nm)
        blend                P_i = w H_i + (1 - w) L_i, w = 2 h l / (h + l) where h = H_i / scale is above 0, else 0
        loss                 -mean_i log [exp P_i / (exp P_i + sum over j != i of exp B_ij)]
    w, of h and l = L_i / scale, carries no gradient; it is clamped to [0, 1].

    Shapes (N texts of the whole batch, D width):
        embeds: (N, D), unit norm. concept_ids: (N,), row numbers in the ontology. scale: scalar, 1 / temperature.
        excluded: (N, N) bool or None, True where a pair is no negative (relatives of a term).
        returns: scalar in nats, mean over the concepts that have two texts or more.

    Relations: with two texts of each concept and one direction, InfoNCE over concepts instead of texts.
    Source: Zhou et al. 2023, arXiv 2303.18247, for the loss; KEP (arXiv 2404.09942) for its use on knowledge texts,
        temperature 0.04. Deviations: a text is no positive of itself; relatives can be left out; the clamp,
        which matters only for concepts of very many texts.

    Example:
        >>> embeds = torch.eye(2).repeat_interleave(2, dim=0)
        >>> round(AdaSPLoss()(embeds, torch.tensor([0, 0, 1, 1]), torch.tensor(4.0)).item(), 4)
        0.1315
    """

    def forward(
        self,
        embeds: torch.Tensor,
        concept_ids: torch.Tensor,
        scale: torch.Tensor,
        excluded: torch.Tensor | None = None,
    ) -> torch.Tensor:
        embeds = embeds.float()
        logits = scale * embeds @ embeds.T  # (N, N)
        concepts, owner = concept_ids.unique(return_inverse=True)
        itself = torch.eye(len(embeds), dtype=torch.bool, device=embeds.device)
        positive = (owner[:, None] == owner[None, :]) & ~itself
        paired = positive.any(dim=1)  # (N,) texts with a positive
        if not paired.any():
            return logits.sum() * 0
        # (N,) for each text, minus the soft minimum over its positives; -inf, and no gradient, where it has none
        hardest_of_text = logits.neg().masked_fill(~positive, float("-inf"))[paired].logsumexp(dim=1)
        hardest = -_logsumexp_by(hardest_of_text, owner[paired], len(concepts))  # (C,)
        least_hard = _logsumexp_by(-hardest_of_text, owner[paired], len(concepts))
        blended = _blend(hardest, least_hard, scale)

        dropped = owner[:, None] == owner[None, :]
        if excluded is not None:
            dropped = dropped | excluded
        has_negative = ~dropped.all(dim=1)
        negatives_of_text = logits.masked_fill(dropped, float("-inf"))[has_negative].logsumexp(dim=1)
        negatives = _logsumexp_by(negatives_of_text, owner[has_negative], len(concepts))  # (C,)
        has_pair = torch.zeros(len(concepts), dtype=torch.bool, device=embeds.device)
        has_pair[owner[paired]] = True
        return nn.functional.softplus(negatives - blended)[has_pair].mean()


def _blend(hardest: torch.Tensor, least_hard: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(C,) P of the class's docstring."""
    low, high = (hardest / scale).detach(), (least_hard / scale).detach()
    weight = torch.where((low > 0) & (high > 0), 2 * low * high / (low + high), 0.0).clamp(0.0, 1.0)
    return weight * hardest + (1 - weight) * least_hard


def _logsumexp_by(values: torch.Tensor, group: torch.Tensor, num_groups: int) -> torch.Tensor:
    """Log-sum-exp of the values of each group, (num_groups,); a large negative number where a group is empty."""
    lowest = torch.finfo(values.dtype).min / 4  # finite, so that no gradient is NaN
    peak = values.new_full((num_groups,), lowest).scatter_reduce(0, group, values.detach(), "amax")
    summed = values.new_zeros(num_groups).index_add(0, group, (values - peak[group]).exp())
    return torch.where(summed > 0, summed.clamp(min=torch.finfo(values.dtype).tiny).log() + peak, lowest)
