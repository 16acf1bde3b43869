"""Image against the names of all training phenotypes: the supervision that an HPO id gives beyond the caption."""

import torch
from torch import nn

from phenolip.train.losses.gather import gather_embeds, gather_ids, global_sum, world_size


class PhenotypeNameLoss(nn.Module):
    """Softmax of an image over the names of all training phenotypes, and of a name over the images of the batch.

    Costs two products, n x C and C x N. It closes the gap between captions, which the contrastive loss sees, and bare
    names, which zero-shot classification and image-phenotype retrieval use.

    Shapes (n images here, N over all processes, C candidate names, D width):
        image_embeds: (n, D), name_embeds: (C, D), unit norm. scale: scalar.
        labels: (n, C) bool, True where a phenotype is in the image; rows may be empty.
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
        image_embeds, name_embeds = image_embeds.float(), name_embeds.float()
        # Each process scores its own images over all names and its own names over all images; the mean that
        # DistributedDataParallel takes over processes then adds up to the whole batch.
        image_to_name = _soft_cross_entropy(scale * image_embeds @ name_embeds.T, labels)
        all_images, all_labels = gather_embeds(image_embeds), gather_ids(labels.to(torch.uint8)).bool()
        name_to_image = _soft_cross_entropy(scale * name_embeds @ all_images.T, all_labels.T, replicated=True)
        return (image_to_name + name_to_image) / 2


def _soft_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, replicated: bool = False) -> torch.Tensor:
    """Cross-entropy against the uniform distribution over each row's labels, mean over all rows that have one.

    With `replicated`, every process holds the same rows; otherwise rows are sharded and counted over processes.
    """
    num_labels = labels.sum(dim=1)
    log_probability = logits.log_softmax(dim=1)
    per_row = -log_probability.masked_fill(~labels, 0.0).sum(dim=1) / num_labels.clamp(min=1)
    num_rows = (num_labels > 0).sum()
    if replicated:
        return per_row.sum() / num_rows.clamp(min=1)
    return per_row.sum() * world_size() / global_sum(num_rows).clamp(min=1)
