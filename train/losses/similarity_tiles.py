"""Scaled similarities of two sides, one tile after another: the N x N matrix never exists as a whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

# Rows and columns of a tile. On a CPU it stays in the cache with what it is multiplied by; a GPU wants large products.
CPU_SIDE, GPU_SIDE = 1024, 8192


@dataclass(frozen=True)
class Tile:
    """A block of the matrix; own rows and columns are those whose gradient this process computes."""

    rows: slice
    columns: slice
    has_own_rows: bool
    has_own_columns: bool

    @property
    def is_diagonal(self) -> bool:
        """Whether it holds matched pairs; rows and columns are cut alike, so that these are then its diagonal."""
        return self.rows == self.columns


class SimilarityTiles:
    """scale * left @ right.T, and what its gradient is to either side, in memory of one tile beside the embeddings.

    Args:
        left, right: (N, D), the same number of rows.
        scale: Scalar.
        side: Rows and columns of a tile; by default what suits the device.
        own: Rows, and columns, of which this process computes the gradient; by default all.
    """

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        scale: torch.Tensor,
        *,
        side: int | None = None,
        own: slice | None = None,
    ) -> None:
        self.left, self.right, self.scale = left, right, scale
        self.own = own or slice(0, len(left))
        self.num_shares = len(left) // (self.own.stop - self.own.start)
        self.side = side or (CPU_SIDE if left.device.type == "cpu" else GPU_SIDE)
        self._cuts = [
            slice(start, min(start + self.side, end))
            for begin, end in pairwise((0, self.own.start, self.own.stop, len(left)))
            for start in range(begin, end, self.side)
        ]

    def of_own_rows(self) -> Iterator[tuple[Tile, torch.Tensor]]:
        """Tiles of own rows against all columns, with their similarities, which the next tile overwrites."""
        return self._tiles(lambda tile: tile.has_own_rows)

    def gradients(
        self, slope: Callable[[Tile, torch.Tensor], torch.Tensor], *, of_right: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Gradients to left, right and scale of a loss, given its derivative by each similarity.

        Args:
            slope: Tile and its similarities, which may be overwritten -> derivatives by them, of the same shape.
            of_right: False leaves right out, and the products that only it needs.

        Shapes: returns (N, D) with zeros outside own rows, the same or None, and the part of own rows in the scalar.
        """
        left = torch.zeros_like(self.left)
        right = torch.zeros_like(self.right) if of_right else None
        for tile, similarities in self._tiles(lambda tile: tile.has_own_rows or (of_right and tile.has_own_columns)):
            slopes = slope(tile, similarities)
            if tile.has_own_rows:
                left[tile.rows].addmm_(slopes, self.right[tile.columns])
            if of_right and tile.has_own_columns:
                right[tile.columns].addmm_(slopes.T, self.left[tile.rows])
        of_scale = torch.einsum("nd,nd->", self.left[self.own], left[self.own])
        return left.mul_(self.scale), right.mul_(self.scale) if of_right else None, of_scale

    def _tiles(self, is_wanted: Callable[[Tile], bool]) -> Iterator[tuple[Tile, torch.Tensor]]:
        buffer = self.left.new_empty(self.side**2)
        for rows in self._cuts:
            scaled = self.left[rows] * self.scale
            for columns in self._cuts:
                tile = Tile(rows, columns, self._is_own(rows), self._is_own(columns))
                if is_wanted(tile):
                    shape = (rows.stop - rows.start, columns.stop - columns.start)
                    out = buffer[: shape[0] * shape[1]].view(shape)
                    yield tile, torch.mm(scaled, self.right[columns].T, out=out)

    def _is_own(self, places: slice) -> bool:
        return self.own.start <= places.start and places.stop <= self.own.stop
