"""What the losses by tiles share: how they are called, and what they turn it into."""

from typing import Any

import torch
from torch import nn

from phenolip.train.losses.pair_rules import FitTiles, PairRules


class TiledLoss(nn.Module):
    """A contrastive loss whose value and gradient are computed tile by tile; a subclass gives `of_tiles`.

    Args:
        mask_duplicates: As in `PairedContrastiveLoss`.
        side: Rows and columns of a tile; by default what suits the device.

    Shapes (N rows of the whole batch, D width, G kinds of group):
        left_embeds, right_embeds: (N, D), unit norm. scale: scalar. group_ids: (N, G) integers, or None.
        fit: function of rows and columns that gives a tile of fit and of what is known, left along the rows, or None.
        fit_weight: as in `PairedContrastiveLoss`. own: rows of this process where the embeddings are gathered from
        several; by default all.
        returns: scalar in nats, of the whole batch on every process. Embeddings get the gradient of own rows, which
        `gather_rows` passes on; scale gets its part of own rows times the number of processes, whose mean is exact.
    """

    def __init__(self, mask_duplicates: bool = True, *, side: int | None = None) -> None:
        super().__init__()
        self.mask_duplicates, self.side = mask_duplicates, side

    def forward(
        self,
        left_embeds: torch.Tensor,
        right_embeds: torch.Tensor,
        scale: torch.Tensor,
        group_ids: torch.Tensor | None = None,
        fit: FitTiles | None = None,
        fit_weight: float = 0.0,
        *,
        own: slice | None = None,
    ) -> torch.Tensor:
        """See the class."""
        rules = PairRules(group_ids if self.mask_duplicates else None, fit)
        tiling = {"side": self.side, "own": own}
        return self.of_tiles(left_embeds.float(), right_embeds.float(), scale, rules, fit_weight, tiling)

    def of_tiles(self, left: torch.Tensor, right: torch.Tensor, scale: torch.Tensor, *how: Any) -> torch.Tensor:
        """The loss of float32 embeddings; `how` holds the `PairRules`, fit_weight and settings of the tiles."""
        raise NotImplementedError
