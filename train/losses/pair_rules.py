"""Which pairs of a batch are no negatives, and which fit beside the matched ones, tile by tile."""

from collections.abc import Callable

import torch

from phenolip.train.losses.similarity_tiles import Tile

#: Rows and columns -> fit in [0, 1] and where it is known (bool), of the pairs of these rows and columns.
FitTiles = Callable[[slice, slice], tuple[torch.Tensor, torch.Tensor]]


class PairRules:
    """What `PairedContrastiveLoss` takes as N x N matrices, for one tile at a time.

    Args:
        group_ids: (N, G) integers: rows that share any are not each other's negatives; None where all are.
        fit: How far a column fits a row; None where only matched pairs do.
    """

    def __init__(self, group_ids: torch.Tensor | None, fit: FitTiles | None) -> None:
        self.fit = fit
        kinds = () if group_ids is None else group_ids.unbind(dim=1)
        numbered = [kind.unique(return_inverse=True) for kind in kinds]
        # A kind of group in which nobody has company excludes nothing. Numbers of 32 bits are compared twice as fast.
        self._groups = [places.to(torch.int32) for distinct, places in numbered if len(distinct) < len(places)]

    def __call__(self, tile: Tile) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Pairs of the tile that are left out, and its fit, 0 at those; None where there are none."""
        excluded = fit = None
        for groups in self._groups:
            shared = groups[tile.rows, None] == groups[None, tile.columns]
            excluded = shared if excluded is None else excluded.logical_or_(shared)
        if self.fit is not None:
            fit, known = self.fit(tile.rows, tile.columns)
            excluded = ~known if excluded is None else excluded.logical_or_(~known)
        if excluded is not None and tile.is_diagonal:
            excluded.fill_diagonal_(False)
        return excluded, fit if fit is None else fit.masked_fill(excluded, 0.0)
