"""Cosine distillation: each embedding turns towards the teacher's."""

import torch
from torch import nn


class CosineLoss(nn.Module):
    """One minus the mean cosine of matched rows: copies the teacher's space, without any negatives.

    Choose it as the cheapest form (N products); on the unit sphere it is half the squared distance.

    Shapes (N rows, D width): embeds, teacher_embeds: (N, D), unit norm. returns: scalar in [0, 2].

    Source: feature distillation (Romero et al. 2015, arXiv 1412.6550) on unit vectors.

    Example:
        >>> round(CosineLoss()(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item(), 4)
        0.5
    """

    def forward(self, embeds: torch.Tensor, teacher_embeds: torch.Tensor) -> torch.Tensor:
        return 1 - (embeds.float() * teacher_embeds.float()).sum(dim=1).mean()
