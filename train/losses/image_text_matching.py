"""MedFILIP's image-text matching: predicted similarities follow a target matrix, element by element and by rows."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

SquaredErrorOn = Literal["cosine", "logits", "none"]
CrossEntropy = Literal["bce", "soft_ce_sym", "soft_ce_row", "none"]
TargetNorm = Literal["l1", "softmax", "none"]


class ImageTextMatchingLoss(nn.Module):
    """Mean squared error plus a cross-entropy between images and texts, both against soft targets.

    Choose it for similarities that can be read as degrees: the squared error fixes their scale, which a contrastive
    loss leaves open. Costs one N x M product, which the caller has made.

    Args:
        mse_on: Squared error of the plain `cosine` (the paper), of the scaled `logits` (its code), or `none`.
        ce: `bce`, element by element (the code); `soft_ce_sym`, softmax over texts and over images, the mean of both
            (the reading of the paper that we take); `soft_ce_row`, over texts alone; `none`.
        target_norm: How the targets of a row become a distribution in `soft_ce_*`: divided by their sum (`l1`);
            softmax of target / `target_temperature` (MedCLIP, arXiv 2210.10163); `none`, as they are.
        target_temperature: Divides targets before the softmax; no unit, above 0.
        mse_weight, ce_weight: Of the two parts in the sum.

    Shapes (N images, M texts of the whole batch):
        cosine: (N, M). scale: scalar, multiplies it. targets: (N, M) in [0, 1]. valid: (N, M) bool or None, False
        where the target is unknown: the pair is in no mean and no softmax. bias: scalar or None, added to scaled
        cosines in `bce` (SigLIP, arXiv 2303.15343).
        returns: "loss", and of the parts that are on "mse" (no unit) and "ce" (nats), scalars. Element-wise parts are
        means over valid pairs, the others over rows (columns) that have a target; 0 where there is none.

    Relations: `soft_ce_sym` with one text an image and identity targets is CLIP's loss.
    Source: MedFILIP, arXiv 2501.10775, equation 9, whose cross-entropy and weights are not stated.

    Example:
        >>> loss = ImageTextMatchingLoss(ce="none")
        >>> loss(torch.zeros(1, 2), torch.tensor(1.0), torch.tensor([[1.0, 0.0]]))["loss"]
        tensor(0.5000)
    """

    def __init__(
        self,
        *,
        mse_on: SquaredErrorOn = "cosine",
        ce: CrossEntropy = "soft_ce_sym",
        target_norm: TargetNorm = "l1",
        target_temperature: float = 1.0,
        mse_weight: float = 1.0,
        ce_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.mse_on, self.ce = mse_on, ce
        self.target_norm, self.target_temperature = target_norm, target_temperature
        self.mse_weight, self.ce_weight = mse_weight, ce_weight

    def forward(
        self,
        cosine: torch.Tensor,
        scale: torch.Tensor,
        targets: torch.Tensor,
        valid: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """See the class."""
        cosine, targets = cosine.float(), targets.float()
        valid = torch.ones_like(targets, dtype=torch.bool) if valid is None else valid
        logits = scale * cosine
        total, parts = (cosine.sum() + scale) * 0.0, {}  # every input keeps a gradient, which DDP waits for
        if self.mse_on != "none":
            errors = ((cosine if self.mse_on == "cosine" else logits) - targets) ** 2
            parts["mse"] = _mean_of_valid(errors, valid)
            total = total + self.mse_weight * parts["mse"]
        if self.ce != "none":
            parts["ce"] = self._cross_entropy(logits, targets, valid, bias)
            total = total + self.ce_weight * parts["ce"]
        return {"loss": total, **parts}

    def _cross_entropy(
        self, logits: torch.Tensor, targets: torch.Tensor, valid: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if self.ce == "bce":
            logits = logits if bias is None else logits + bias
            losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            return _mean_of_valid(losses, valid)
        rows = soft_cross_entropy(logits, self._distribution(targets, valid), valid)
        if self.ce == "soft_ce_row":
            return rows
        columns = soft_cross_entropy(logits.T, self._distribution(targets.T, valid.T), valid.T)
        return (rows + columns) / 2

    def _distribution(self, targets: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        if self.target_norm == "softmax":
            lowest = torch.finfo(targets.dtype).min
            spread = (targets / self.target_temperature).masked_fill(~valid, lowest).softmax(dim=1)
            return spread * valid * ((targets > 0) & valid).any(dim=1, keepdim=True)  # no match: no distribution
        targets = targets.clamp(min=0.0) * valid
        return normalised_rows(targets) if self.target_norm == "l1" else targets


def normalised_rows(targets: torch.Tensor) -> torch.Tensor:
    """Rows divided by their sum; a row of zeros stays. Shapes: (N, M), not negative."""
    return targets / targets.sum(dim=1, keepdim=True).clamp(min=torch.finfo(targets.dtype).tiny)


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """-sum of target times log-softmax over the valid entries of a row, mean over the rows that have a target.

    Shapes: logits, target (zero where not valid) and valid (N, M); returns a scalar in nats, 0 without such a row.
    """
    has_target = (target > 0).any(dim=1)
    if not has_target.any():
        return logits.sum() * 0.0
    logits, target = logits[has_target].masked_fill(~valid[has_target], float("-inf")), target[has_target]
    log_probability = logits.log_softmax(dim=1)
    return -(target * log_probability.masked_fill(target == 0, 0.0)).sum(dim=1).mean()


def _mean_of_valid(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
