"""Image against the names of all training phenotypes: the supervision that an HPO id gives beyond the caption."""

import torch
from torch import nn


class PhenotypeNameLoss(nn.Module):
    """Softmax of an image over the names of all candidate phenotypes, and of a name over the images of the batch.

    Costs one N x C product. It closes the gap between captions, which the contrastive loss sees, and bare
    names, which zero-shot classification and image-phenotype retrieval use. With the teacher's embeddings of the names
    it is the distillation form `anchors`.

    Shapes (N images of the whole batch, C candidate names, D width):
        image_embeds: (N, D), name_embeds: (C, D), unit norm. scale: scalar.
        values: (N, C) bool or in [0, 1], how far a phenotype is in the image; rows may be empty.
        valid: (N, C) bool or None, False where it is not known and the pair is left out of both softmaxes.
        returns: scalar in nats: mean over images with a label, plus mean over names with an image, halved; the means
            weighted by the largest value.

    An image without any value is taken as not annotated and left out altogether: it is no negative of any name. The
    others' target is their values, made to sum to 1; so is a name's over its images. Either counts as much as its
    largest value: a name whose nearest image of the batch is a distant relative hardly counts.
    Relations: with one label per image, the first half is plain cross-entropy over the names.
    Source: ours; the paper trains on captions alone.

    Example:
        >>> eye = torch.eye(2)
        >>> round(PhenotypeNameLoss()(eye, eye, torch.tensor(1.0), torch.eye(2, dtype=torch.bool)).item(), 4)
        0.3133
    """

    def forward(
        self,
        image_embeds: torch.Tensor,
        name_embeds: torch.Tensor,
        scale: torch.Tensor,
        values: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        annotated = (values > 0).any(dim=1)
        if not annotated.any():
            return (image_embeds.sum() + name_embeds.sum()) * scale * 0.0
        logits = scale * image_embeds[annotated].float() @ name_embeds.float().T  # (annotated, C)
        values = values[annotated].float()
        if valid is not None:
            valid = valid[annotated]
            logits = logits.masked_fill(~valid, float("-inf"))
            values = values.masked_fill(~valid, 0.0)
        return (_soft_cross_entropy(logits, values) + _soft_cross_entropy(logits.T, values.T)) / 2


def _soft_cross_entropy(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against each row's values made to sum to 1; mean over rows, each weighted by its largest value."""
    has_target = values.sum(dim=1) > 0
    values = values[has_target]
    target = values / values.sum(dim=1, keepdim=True)
    log_probability = logits[has_target].log_softmax(dim=1)
    per_row = -(target * log_probability.masked_fill(target == 0, 0.0)).sum(dim=1)
    weight = values.amax(dim=1)
    return (per_row * weight).sum() / weight.sum().clamp(min=1e-30)
