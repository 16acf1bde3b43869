"""Image against the names of all training phenotypes: the supervision that an HPO id gives beyond the caption."""

import torch
from torch import nn


class PhenotypeNameLoss(nn.Module):
    """Softmax of an image over the names of all training phenotypes, and of a name over the images of the batch.

    Costs one N x C product. It closes the gap between captions, which the contrastive loss sees, and bare
    names, which zero-shot classification and image-phenotype retrieval use.

    Shapes (N images of the whole batch, C candidate names, D width):
        image_embeds: (N, D), name_embeds: (C, D), unit norm. scale: scalar.
        labels: (N, C) bool, True where a phenotype is in the image; rows may be empty.
        returns: scalar in nats: mean over images with a label, plus mean over names with an image, halved.

    An image's target is uniform over its labels; so is a name's over its images.
    Relations: with one label per image, the first half is plain cross-entropy over the names.
    Source: ours; the paper trains on captions alone.

    Example:
        >>> eye = torch.eye(2)
        >>> round(PhenotypeNameLoss()(eye, eye, torch.tensor(1.0), torch.eye(2, dtype=torch.bool)).item(), 4)
        0.3133
    """

    def forward(
        self, image_embeds: torch.Tensor, name_embeds: torch.Tensor, scale: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        logits = scale * image_embeds.float() @ name_embeds.float().T  # (N, C)
        return (_soft_cross_entropy(logits, labels) + _soft_cross_entropy(logits.T, labels.T)) / 2


def _soft_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the uniform distribution over each row's labels, mean over the rows that have one."""
    num_labels = labels.sum(dim=1)
    log_probability = logits.log_softmax(dim=1)
    per_row = -log_probability.masked_fill(~labels, 0.0).sum(dim=1) / num_labels.clamp(min=1)
    return per_row.sum() / (num_labels > 0).sum().clamp(min=1)
