"""Margins that grow with the number of is_a edges between two concepts."""

import torch
from torch import nn


class DistanceMarginLoss(nn.Module):
    """Hinge: a text of another concept must be less alike than the own concept's, the more so the farther it is.

    Choose it where edges mean more than information content; Lin's similarity usually orders terms better, since an
    edge near the root spans more than one near a leaf. Costs one N x N product.

    For texts i and j of different concepts, d edges apart, with s_ip the mean cosine of i and its own concept's texts:
        mean over i, j of max(0, s_ij - s_ip + margin * min(d, max_distance_edges) / max_distance_edges)

    Args:
        margin: Gap in cosine asked of the farthest terms; above 0, at most 2.
        max_distance_edges: Distance in is_a edges from which on the gap no longer grows.

    Shapes (N texts of the whole batch, D width):
        embeds: (N, D), unit norm. concept_ids: (N,), row numbers in the ontology. scale: unused, for the common call.
        distance: (N, N), is_a edges between the texts' concepts.
        counted: (N, N) bool or None, True where a pair of different concepts is supervised; None counts all.
        returns: scalar in units of cosine, mean over the supervised pairs whose first text has a positive.

    Relations: the triplet loss with a margin by level of the hierarchy.
    Source: ours, after Ge et al. 2018, arXiv 1810.06951 (hierarchical triplet loss). Deviation: distance in a given
        graph, not levels of a tree found by clustering; all pairs, not sampled triplets.

    Example:
        >>> embeds, distance = torch.eye(2).repeat_interleave(2, dim=0), torch.full((4, 4), 3.0)
        >>> loss = DistanceMarginLoss(margin=1.5, max_distance_edges=3)
        >>> loss(embeds, torch.tensor([0, 0, 1, 1]), torch.tensor(1.0), distance).item()
        0.5
    """

    def __init__(self, margin: float, max_distance_edges: int) -> None:
        super().__init__()
        if not 0 < margin <= 2:
            raise ValueError(f"`margin` must be above 0 and at most 2, got {margin}.")
        if max_distance_edges < 1:
            raise ValueError(f"`max_distance_edges` must be 1 or more, got {max_distance_edges}.")
        self.margin, self.max_distance_edges = margin, max_distance_edges

    def forward(
        self,
        embeds: torch.Tensor,
        concept_ids: torch.Tensor,
        scale: torch.Tensor,
        distance: torch.Tensor,
        counted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        embeds = embeds.float()
        cosine = embeds @ embeds.T
        same = concept_ids[:, None] == concept_ids[None, :]
        positive = same.clone().fill_diagonal_(False)
        num_positives = positive.sum(dim=1)
        own = (cosine * positive).sum(dim=1) / num_positives.clamp(min=1)  # (N,)
        pairs = ~same & (num_positives > 0)[:, None]
        if counted is not None:
            pairs = pairs & counted
        gap = self.margin * distance.to(cosine.dtype).clamp(max=self.max_distance_edges) / self.max_distance_edges
        hinge = (cosine - own[:, None] + gap).clamp(min=0)
        return (hinge * pairs).sum() / pairs.sum().clamp(min=1)
