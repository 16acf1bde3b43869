"""Response distillation: an image answers as the teacher does when it reads the caption."""

import torch
import torch.nn.functional as F
from torch import nn


class ResponseLoss(nn.Module):
    """KL divergence from the teacher's softmax over phenotypes, given the caption, to the student's, given the image.

    Choose it where captions name phenotypes and many rows carry no ids: the teacher's reading takes the labels' place.
    Costs two N x C products.

    Args:
        temperature: Divides the teacher's cosines before their softmax.

    Shapes (N rows, C phenotypes, D width):
        image_embeds, caption_embeds: (N, D), unit norm; caption_embeds and name_embeds (C, D) are the teacher's.
        scale: scalar, multiplies the student's cosines. returns: scalar in nats, mean over rows.

    Relations: PhenotypeNameLoss's first half, with the teacher's reading of the caption as the target.
    Source: Hinton et al. 2015, arXiv 1503.02531, for soft targets; their use across modalities here is ours.

    Example:
        >>> eye = torch.eye(2)
        >>> round(ResponseLoss(temperature=1.0)(eye, eye, eye, torch.tensor(1.0)).item(), 4)
        0.0
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        image_embeds: torch.Tensor,
        caption_embeds: torch.Tensor,
        name_embeds: torch.Tensor,
        scale: torch.Tensor,
    ) -> torch.Tensor:
        names = name_embeds.float().T
        teacher = (caption_embeds.float() @ names / self.temperature).log_softmax(dim=1)  # (N, C)
        student = (scale * image_embeds.float() @ names).log_softmax(dim=1)
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
