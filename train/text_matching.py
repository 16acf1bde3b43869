"""What Stage 2 asks of images and their findings: contrast, matching with a target matrix, or both."""

from collections.abc import Mapping

import torch
from torch import nn

from phenolip.train.losses.image_text_matching import ImageTextMatchingLoss
from phenolip.train.losses.owned_texts_contrastive import OwnedTextsContrastiveLoss
from phenolip.train.targets.owned_texts import own_texts, owners_of
from phenolip.train.targets.text_targets import TextTargets


class WeightedMatching(nn.Module):
    """`ImageTextMatchingLoss` with its weight and, for element-wise cross-entropy of scaled cosines, a learnt bias.

    Args:
        loss: The loss.
        weight: Its share in the sum.
    """

    def __init__(self, loss: ImageTextMatchingLoss, weight: float) -> None:
        super().__init__()
        self.loss, self.weight = loss, weight
        has_bias = loss.ce == "bce" and loss.mse_on != "logits"  # the squared error would have it at 0
        self.bias = nn.Parameter(torch.zeros(())) if has_bias else None

    def forward(
        self, cosine: torch.Tensor, scale: torch.Tensor, targets: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted loss and what to log. Shapes: cosine, targets, valid (N, M); returns scalars."""
        parts = self.loss(cosine, scale, targets, valid, self.bias)
        return self.weight * parts["loss"], {f"matching_{name}": parts[name] for name in parts if name != "loss"}


class TextMatching(nn.Module):
    """Weighted losses between images and several texts each, against one target matrix.

    Args:
        targets: Batch -> target matrix and where it is known.
        contrastive_weight: Of `OwnedTextsContrastiveLoss`; 0 leaves it out.
        target_weight: Share of its target for texts of other images that fit.
        matching: None leaves it out.
    """

    def __init__(
        self,
        targets: TextTargets,
        *,
        contrastive_weight: float,
        target_weight: float,
        matching: WeightedMatching | None,
    ) -> None:
        super().__init__()
        self.targets, self.matching, self.contrastive_weight = targets, matching, contrastive_weight
        self.contrastive = OwnedTextsContrastiveLoss(target_weight)

    def forward(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        batch: Mapping[str, torch.Tensor],
        scale: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum and what to log of it.

        Shapes (N images, M texts of the whole batch, D width): image_embeds (N, D), text_embeds (M, D), unit norm, in
            the order of rows and slots; batch as `TextTargets` takes it; returns scalars.
        """
        targets, valid = self.targets(batch)
        cosine = image_embeds.float() @ text_embeds.float().T  # (N, M)
        total, losses = (cosine.sum() + scale) * 0.0, {}
        if self.contrastive_weight:
            own = own_texts(owners_of(batch["text_ids"] >= 0), len(image_embeds))
            losses["image_text"] = self.contrastive(cosine, scale, own, targets, valid)
            total = total + self.contrastive_weight * losses["image_text"]
        if self.matching is not None:
            weighted, parts = self.matching(cosine, scale, targets, valid)
            total, losses = total + weighted, losses | parts
        return total, losses
