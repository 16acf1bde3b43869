"""Symmetric InfoNCE where an image has several texts of its own, or none."""

import torch
from torch import nn

from phenolip.train.losses.image_text_matching import normalised_rows, soft_cross_entropy


class OwnedTextsContrastiveLoss(nn.Module):
    """An image against all texts of the batch, its own as targets; a text against all images, its own as target.

    Args:
        target_weight: Share of a target that follows the target matrix instead, each row made to sum to 1.

    Shapes (N images, M texts of the whole batch):
        cosine: (N, M). scale: scalar. own: (N, M) bool, each text of one image. targets: (N, M) in [0, 1], 1 for own
        texts. valid: (N, M) bool, False where a pair is left out.
        returns: scalar in nats, mean over images that have texts and over texts, halved; 0 without texts.

    Relations: with one text an image and `target_weight` 0, `PairedContrastiveLoss`; with 1, the part `soft_ce_sym`
        of `ImageTextMatchingLoss`.
    Source: ours, after Radford et al. 2021, arXiv 2103.00020.

    Example:
        >>> eye = torch.eye(4)
        >>> loss = OwnedTextsContrastiveLoss()(eye, torch.tensor(1.0), eye > 0, eye, torch.ones(4, 4, dtype=bool))
        >>> round(loss.item(), 4)
        0.7437
    """

    def __init__(self, target_weight: float = 0.0) -> None:
        super().__init__()
        self.target_weight = target_weight

    def forward(
        self,
        cosine: torch.Tensor,
        scale: torch.Tensor,
        own: torch.Tensor,
        targets: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """See the class."""
        valid, logits = valid | own, scale * cosine.float()
        targets = targets.float().clamp(min=0.0) * valid
        rows = soft_cross_entropy(logits, self._mixed(own.float(), targets), valid)
        columns = soft_cross_entropy(logits.T, self._mixed(own.T.float(), targets.T), valid.T)
        return (rows + columns) / 2

    def _mixed(self, own: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mixed targets; an image without texts of its own takes part in the softmax of texts alone."""
        mixed = (1 - self.target_weight) * normalised_rows(own) + self.target_weight * normalised_rows(targets)
        return mixed * own.any(dim=1, keepdim=True)
