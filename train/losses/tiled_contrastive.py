"""Symmetric InfoNCE of large batches: memory grows with N instead of N x N, and each process computes its own rows."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from phenolip.train.gather import gather_rows
from phenolip.train.losses.pair_rules import PairRules
from phenolip.train.losses.similarity_tiles import SimilarityTiles
from phenolip.train.losses.tiled_loss import TiledLoss

TILED_FROM = 2048  # rows from which on tiles are used by default


class TiledContrastiveLoss(TiledLoss):
    """`PairedContrastiveLoss`, the same value and gradient, tile by tile.

    Choose it where the N x N matrices of the plain loss no longer fit, or are slow to pass over: a tile stays in the
    cache. The backward pass computes similarities anew: 4 products of N x N x D against the plain loss's 3.

    Arguments and shapes are those of `TiledLoss`. Processes tell each other the normalisers of rows and columns and no
    more, in the forward pass only.

    Source: Radford et al. 2021, arXiv 2103.00020, for the loss; recomputation by tiles with running normalisers as in
        Dao et al. 2022, arXiv 2205.14135. Their use here, with masks and soft targets in both directions, is ours.

    Example:
        >>> eye = torch.eye(4)
        >>> round(TiledContrastiveLoss(side=3)(eye, eye, torch.tensor(1.0)).item(), 4)
        0.7437
    """

    def of_tiles(self, left: torch.Tensor, right: torch.Tensor, scale: torch.Tensor, *how: Any) -> torch.Tensor:
        """See `TiledLoss`."""
        return _InfoNCE.apply(left, right, scale, *how)


class _InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        scale: torch.Tensor,
        rules: PairRules,
        fit_weight: float,
        tiling: dict[str, Any],
    ) -> torch.Tensor:
        tiles = SimilarityTiles(left, right, scale, **tiling)
        rows, columns, matched = _Sums.of_nothing(left), _Sums.of_nothing(left), left.new_zeros(len(left))
        for tile, logits in tiles.of_own_rows():
            excluded, fit = rules(tile)
            if tile.is_diagonal:
                matched[tile.rows] = logits.diagonal()
            if fit_weight and fit is not None:
                rows.add_fit(tile.rows, fit, logits, dim=1)
                columns.add_fit(tile.columns, fit, logits, dim=0)
            if excluded is not None:
                logits.masked_fill_(excluded, float("-inf"))
            rows.add(tile.rows, logits, dim=1)
            columns.add(tile.columns, logits, dim=0)
        if tiles.num_shares > 1:
            matched = gather_rows(matched[tiles.own])
            rows.gather(tiles.own)
            columns.reduce()
        ctx.save_for_backward(left, right, scale, *rows.tensors, *columns.tensors)
        ctx.rules, ctx.fit_weight, ctx.tiling = rules, fit_weight, tiling
        wanted = rows.target(matched, fit_weight) + columns.target(matched, fit_weight)
        return (rows.log_sum + columns.log_sum - wanted).mean() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        left, right, scale, *sums = ctx.saved_tensors
        rows, columns, fit_weight = _Sums(*sums[:3]), _Sums(*sums[3:]), ctx.fit_weight
        of_matched = rows.own_share(fit_weight) + columns.own_share(fit_weight)
        of_row, of_column = fit_weight * rows.inverse_fit(), fit_weight * columns.inverse_fit()

        def slope(tile, logits):
            """Both softmaxes minus both targets."""
            excluded, fit = ctx.rules(tile)
            if excluded is not None:
                logits.masked_fill_(excluded, float("-inf"))
            slopes = (logits - rows.log_sum[tile.rows, None]).exp_()
            slopes += logits.sub_(columns.log_sum[tile.columns]).exp_()
            if fit_weight and fit is not None:
                slopes -= fit * (of_row[tile.rows, None] + of_column[tile.columns])
            if tile.is_diagonal:
                slopes.diagonal().sub_(of_matched[tile.rows])
            return slopes

        tiles = SimilarityTiles(left, right, scale, **ctx.tiling)
        of_left, of_right, of_scale = tiles.gradients(slope, of_right=ctx.needs_input_grad[1])
        factor = gradient / (2 * len(left))
        of_right = None if of_right is None else of_right.mul_(factor)
        return of_left.mul_(factor), of_right, of_scale * factor * tiles.num_shares, None, None, None


class _Sums:
    """What InfoNCE needs to know of each row, or of each column: over its logits and over its fit.

    Shapes (N rows): log_sum, fit, fit_logits (N,): log-sum-exp of the logits, sum of the fit, sum of fit times logits.
    """

    def __init__(self, log_sum: torch.Tensor, fit: torch.Tensor, fit_logits: torch.Tensor) -> None:
        self.log_sum, self.fit, self.fit_logits = log_sum, fit, fit_logits

    @classmethod
    def of_nothing(cls, like: torch.Tensor) -> "_Sums":
        """Before the first tile, for as many rows as `like` has."""
        size = len(like)
        return cls(like.new_full((size,), float("-inf")), like.new_zeros(size), like.new_zeros(size))

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.log_sum, self.fit, self.fit_logits

    def add(self, places: slice, logits: torch.Tensor, *, dim: int) -> None:
        self.log_sum[places] = torch.logaddexp(self.log_sum[places], logits.logsumexp(dim))

    def add_fit(self, places: slice, fit: torch.Tensor, logits: torch.Tensor, *, dim: int) -> None:
        self.fit[places] += fit.sum(dim)
        self.fit_logits[places] += (fit * logits).sum(dim)

    def gather(self, own: slice) -> None:
        """From own rows, complete, to all rows."""
        self.log_sum, self.fit, self.fit_logits = gather_rows(torch.stack(self.tensors, dim=1)[own]).unbind(dim=1)

    def reduce(self) -> None:
        """From all columns over own rows to all columns over all rows."""
        log_sum, fit, fit_logits = gather_rows(torch.stack(self.tensors)[None]).unbind(dim=1)  # each (W, N)
        self.log_sum, self.fit, self.fit_logits = log_sum.logsumexp(0), fit.sum(0), fit_logits.sum(0)

    def target(self, matched: torch.Tensor, fit_weight: float) -> torch.Tensor:
        """Mean logit under the target."""
        return self.own_share(fit_weight) * matched + fit_weight * self.fit_logits * self.inverse_fit()

    def inverse_fit(self) -> torch.Tensor:
        return torch.where(self.fit > 0, 1 / self.fit, 0.0)

    def own_share(self, fit_weight: float) -> torch.Tensor:
        """Target of the matched pair; all of it where nothing fits."""
        return torch.where(self.fit > 0, 1 - fit_weight, 1.0).to(self.fit.dtype)
