"""CutMix: neighbours in a batch exchange a rectangle of their images, and their targets in proportion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class CutMix:
    """A collator around another: rows 2k and 2k + 1 of a batch exchange a rectangle, or do not.

    The rectangle lies at the same place of both, so that left stays left, and has any share of the area alike. Whether
    a pair is mixed, and where, is a function of the seed, the epoch and the two rows: parts of a batch that hold whole
    pairs are mixed as the batch is, on any number of processes.

    Args:
        collate: Samples of `ImageTextPairs`, or of a stream, -> batch.
        probability: Of a pair to be mixed.
        seed: See above.

    To the batch it adds own_share (n,) float32, the share of each image that is its row's own; the rest is of the
    other row of its pair. An odd row at the end is not mixed.

    Source: Yun et al. 2019, arXiv 1905.04899, for the rectangle and the mixed targets. Exchanging it within pairs, for
    targets of captions that are in the batch, is ours.
    """

    def __init__(
        self, collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]], *, probability: float, seed: int
    ) -> None:
        self.collate, self.probability, self.seed = collate, probability, seed

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Samples -> batch with own_share."""
        samples, own_share = list(samples), torch.ones(len(samples))
        for first in range(0, len(samples) - 1, 2):
            pair = samples[first : first + 2]
            *mixed, share = self._exchange(*pair)
            samples[first : first + 2] = [{**old, "image": new} for old, new in zip(pair, mixed, strict=True)]
            own_share[first : first + 2] = share
        return {**self.collate(samples), "own_share": own_share}

    def _exchange(self, one: dict[str, Any], other: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
        """Both images (S, S, 3) with the rectangle of the other, and the share that stays."""
        images = one["image"], other["image"]
        rng = np.random.default_rng([self.seed, one["epoch"], one["row"], other["row"]])
        if rng.uniform() >= self.probability:
            return *images, 1.0
        height, width = images[0].shape[:2]
        side = np.sqrt(rng.uniform())
        rows, columns = round(side * height), round(side * width)
        top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
        place = slice(top, top + rows), slice(left, left + columns)
        mixed = [image.copy() for image in images]
        mixed[0][place], mixed[1][place] = images[1][place], images[0][place]
        return *mixed, 1 - rows * columns / (height * width)


def partners(num_rows: int, device: torch.device) -> torch.Tensor:
    """The other row of each row's pair, (N,) int64; of an odd row at the end, itself."""
    return (torch.arange(num_rows, device=device) ^ 1).clamp(max=num_rows - 1)


def mixed_captions(own_share: torch.Tensor, duplicates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What mixed images are to the captions of their batch, as `PairedContrastiveLoss` takes it.

    A caption that is a duplicate of the partner's is no negative of the image, for the image shows some of it.

    Shapes (N rows): own_share (N,), duplicates (N, N) bool of `duplicate_mask`; returns fit (N, N), one for the
        partner, and known (N, N) bool, images along the rows.
    """
    other = partners(len(own_share), own_share.device)
    fit = torch.zeros_like(duplicates, dtype=torch.float32)
    fit[torch.arange(len(other), device=other.device), other] = 1.0
    return fit, ~(duplicates[other] & (own_share < 1)[:, None])


def mixed_values(
    values: torch.Tensor, valid: torch.Tensor | None, own_share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Phenotypes of mixed images: each row's in proportion to the area that is its own.

    An image whose own row has no phenotypes is not annotated and stays so. What one of two rows leaves open is open.

    Shapes (N rows, C phenotypes): values (N, C) bool or in [0, 1], valid (N, C) bool or None, own_share (N,); returns
        the same two.
    """
    own, other = values.float(), partners(len(values), values.device)
    share = own_share[:, None]
    mixed = torch.where(own.any(dim=1, keepdim=True), share * own + (1 - share) * own[other], own)
    if valid is not None:
        valid = torch.where(share < 1, valid & valid[other], valid)
    return mixed, valid
