"""SigLIP's loss: each pair of a batch is a question of its own, matched or not; computed tile by tile."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from phenolip.train.gather import gather_rows
from phenolip.train.losses.pair_rules import PairRules
from phenolip.train.losses.similarity_tiles import SimilarityTiles, Tile
from phenolip.train.losses.tiled_loss import TiledLoss


class SigmoidContrastiveLoss(TiledLoss):
    """Binary cross-entropy of scaled similarities plus a learnt bias, over all pairs, divided by the rows.

    Choose it where a pair should be judged by itself: without a softmax over the batch its size matters less. Costs 3
    products of N x N x D for value and gradient, taken in one pass, and memory of one tile beside the embeddings.

    Args:
        mask_duplicates: Leave out pairs of different rows that share any of their `group_ids`.
        bias_init: Of the bias; SigLIP's -10 begins near the share of matched pairs in a large batch.
        side: Rows and columns of a tile; by default what suits the device.

    Shapes (N rows of the whole batch, D width, G kinds of group): as in `TiledLoss`. A pair's target is 1
        where it is matched, else fit_weight times its fit; pairs that are not known are left out.
        returns: scalar in nats; value, gradient and bias under several processes likewise.

    Relations: `ImageTextMatchingLoss` with `bce`, whose mean over pairs is this sum divided by N once more.
    Source: Zhai et al. 2023, arXiv 2303.15343, algorithm 1. Leaving duplicates out and targets by `fit` are ours.

    Example:
        >>> eye = torch.eye(2)
        >>> round(SigmoidContrastiveLoss(bias_init=0.0)(eye, eye, torch.tensor(0.0)).item(), 4)
        1.3863
    """

    def __init__(self, mask_duplicates: bool = True, *, bias_init: float = -10.0, side: int | None = None) -> None:
        super().__init__(mask_duplicates, side=side)
        self.logit_bias = nn.Parameter(torch.tensor(bias_init))

    def of_tiles(self, left: torch.Tensor, right: torch.Tensor, scale: torch.Tensor, *how: Any) -> torch.Tensor:
        """See `TiledLoss`."""
        return _Sigmoid.apply(left, right, scale, self.logit_bias, *how)


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        rules: PairRules,
        fit_weight: float,
        tiling: dict[str, Any],
    ) -> torch.Tensor:
        """The derivative of a pair needs no other pair: value and gradients come from one pass."""
        losses, of_bias = [left.new_zeros(())], [left.new_zeros(())]  # of own rows, by tile

        def slope(tile, logits):
            """Probability minus target."""
            logits += bias
            excluded, fit = rules(tile)
            if excluded is not None:
                logits.masked_fill_(excluded, float("-inf"))  # neither a loss nor a slope
            slopes = logits.sigmoid()
            targets = _targets(tile, fit, fit_weight, logits)
            if targets is not None:
                slopes -= targets
            if tile.has_own_rows:
                losses.append(F.softplus(logits).sum())
                if targets is not None:
                    losses.append(-torch.where(targets > 0, targets * logits, 0.0).sum())
                of_bias.append(slopes.sum())
            return slopes

        tiles = SimilarityTiles(left, right, scale, **tiling)
        gradients = tiles.gradients(slope, of_right=ctx.needs_input_grad[1])
        ctx.save_for_backward(*gradients, torch.stack(of_bias).sum())
        ctx.num_shares = tiles.num_shares
        loss = torch.stack(losses).sum()
        if tiles.num_shares > 1:
            loss = gather_rows(loss[None]).sum()
        return loss / len(left)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        left, right, of_scale, of_bias = ctx.saved_tensors
        factor = gradient / len(left)
        of_right = None if right is None else right * factor
        shared = factor * ctx.num_shares  # each process has its rows' part, of which the mean is taken
        return left * factor, of_right, of_scale * shared, of_bias * shared, None, None, None


def _targets(tile: Tile, fit: torch.Tensor | None, fit_weight: float, like: torch.Tensor) -> torch.Tensor | None:
    """Targets of a tile; None where all are 0."""
    if fit is None or not fit_weight:
        return torch.eye(len(like), dtype=like.dtype, device=like.device) if tile.is_diagonal else None
    targets = fit * fit_weight
    return targets.fill_diagonal_(1.0) if tile.is_diagonal else targets
