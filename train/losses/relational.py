"""Relational distillation: a batch's similarities follow those that the teacher sees."""

import torch
import torch.nn.functional as F
from torch import nn


class RelationalLoss(nn.Module):
    """KL divergence from the teacher's similarities within a batch to the student's between its two sides.

    Choose it where the teacher's space must not be copied, only who is near whom; the widths need not agree. Costs two
    N x N products.

    Args:
        temperature: Divides the teacher's cosines before their softmax.

    Shapes (N rows of the whole batch, D and K widths):
        left_embeds, right_embeds: (N, D), unit norm, the student's. teacher_embeds: (N, K), unit norm.
        scale: scalar, multiplies the student's cosines. returns: scalar in nats, mean over rows and both directions.

    Relations: as the teacher's temperature goes to 0, InfoNCE over distinct rows.
    Source: after Park et al. 2019, arXiv 1904.05068 (relations instead of features), with the soft matrix of a
        contrastive batch as relation; the form is ours.

    Example:
        >>> eye = torch.eye(2)
        >>> round(RelationalLoss(temperature=1.0)(eye, eye, eye, torch.tensor(1.0)).item(), 4)
        0.0
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        left_embeds: torch.Tensor,
        right_embeds: torch.Tensor,
        teacher_embeds: torch.Tensor,
        scale: torch.Tensor,
    ) -> torch.Tensor:
        teacher = (teacher_embeds.float() @ teacher_embeds.float().T / self.temperature).log_softmax(dim=1)
        logits = scale * left_embeds.float() @ right_embeds.float().T  # (N, N)
        return sum(
            F.kl_div(student.log_softmax(dim=1), teacher, reduction="batchmean", log_target=True) / 2
            for student in (logits, logits.T)
        )
