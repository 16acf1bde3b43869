"""Several texts an image: from what each text says of each other to what each image is to each text."""

import torch


def owners_of(mask: torch.Tensor) -> torch.Tensor:
    """Image of each text, where every image has some slots and `mask` says which hold a text.

    Shapes (N images, K slots, M texts): mask (N, K) bool; returns (M,), ascending.
    """
    return mask.nonzero()[:, 0]


def own_texts(owner: torch.Tensor, num_images: int) -> torch.Tensor:
    """Which texts are an image's own. Shapes: owner (M,); returns (N, M) bool."""
    return owner[None, :] == torch.arange(num_images, device=owner.device)[:, None]


def largest_of_own(pairwise: torch.Tensor, owner: torch.Tensor, num_images: int) -> torch.Tensor:
    """For each image and text the largest value that any text of the image has with it.

    This is the selection of MedFILIP's equations 4 and 5 (arXiv 2501.10775): the largest and not the mean, which weak
    matches would dilute. An image without texts has zeros.

    Shapes (N images, M texts): pairwise (M, M), the image's own texts along the rows; owner (M,); returns (N, M).
    """
    rows = owner[:, None].expand_as(pairwise)
    pooled = pairwise.new_zeros(num_images, pairwise.shape[1])
    return pooled.scatter_reduce(0, rows, pairwise, "amax", include_self=False)
