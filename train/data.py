"""Rows in, samples out: which rows form each batch, and what a row becomes in a given epoch.

Both are pure functions of (seed, epoch, row): a run can go on from any step without replaying the earlier ones, and
any number of workers or processes sees the same samples.
"""

import gc
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from torch.utils.data import DataLoader

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import ImageSource, decode_image
from phenolip.train.row_orders import RowOrder, ShuffledOrder

Key = tuple[int, int]  # epoch, row


class EpochPlan:
    """Batches of row numbers, split evenly over processes; the rows left over by an epoch are dropped.

    Args:
        num_rows: Rows in the data.
        batch_size: Rows of one batch over all processes; lowered to `num_rows` where the data is smaller.
        seed: With the epoch, fixes the default order.
        rank, world_size: This process and how many there are.
        order: Which rows an epoch takes, and in which order; by default all of them, shuffled.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        order: RowOrder | None = None,
    ) -> None:
        self.order = order or ShuffledOrder(num_rows, seed=seed)
        num_rows = self.order.num_rows
        if num_rows < 2:
            raise DataError(f"Contrastive training needs at least 2 rows, got {num_rows}.")
        self.num_rows = num_rows
        self.batch_size = min(batch_size, num_rows) // world_size * world_size
        if self.batch_size == 0:
            raise ConfigurationError(f"`batch_size` must be at least the {world_size} processes, got {batch_size}.")
        self.rank, self.world_size = rank, world_size
        self._cached_epoch: int | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in one pass over the rows."""
        return self.num_rows // self.batch_size

    def micro_batches_per_batch(self, micro_batch_size: int) -> int:
        """Parts of at most so many rows of this process's share of a batch."""
        return math.ceil(self.batch_size // self.world_size / micro_batch_size)

    def batch(self, index: int) -> list[Key]:
        """Keys of this process's share of batch `index`, counted over the whole run."""
        epoch, place = divmod(index, self.batches_per_epoch)
        rows = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        share = self.batch_size // self.world_size
        return [(epoch, int(row)) for row in rows[self.rank * share : (self.rank + 1) * share]]

    def _order(self, epoch: int) -> np.ndarray:
        if self._cached_epoch != epoch:
            self._cached_order, self._cached_epoch = self.order(epoch), epoch
        return self._cached_order

    def sampler(self, first_batch: int, num_batches: int, micro_batch_size: int) -> Iterable[list]:
        """What a `loader` looks up in its samples, batch by batch."""
        return _Batches(self, first_batch, num_batches, micro_batch_size)

    def loader(
        self,
        samples: Sequence,
        collate: Callable,
        *,
        first_batch: int,
        num_batches: int,
        num_workers: int,
        micro_batch_size: int = 0,
    ) -> DataLoader:
        """Batches `first_batch` to `num_batches` of the run, in order.

        With `micro_batch_size` each comes as its micro-batches, and these once more before the next batch: reading a
        sample again gives the same bits, so that none has to be kept.
        """
        if num_workers:  # a later collection would write to every object, and copy the pages that workers share
            gc.collect()
            gc.freeze()
        return DataLoader(
            samples,
            batch_sampler=self.sampler(first_batch, num_batches, micro_batch_size),
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each iterator would draw from the global generator
        )


@dataclass(frozen=True)
class _Batches:
    plan: EpochPlan
    first: int
    last: int
    micro_batch_size: int

    def __len__(self) -> int:
        size = self.micro_batch_size
        return max(0, self.last - self.first) * (2 * self.plan.micro_batches_per_batch(size) if size else 1)

    def __iter__(self) -> Iterator[list[Key]]:
        size = self.micro_batch_size
        for index in range(self.first, self.last):
            batch = self.plan.batch(index)
            parts = [batch[start : start + size] for start in range(0, len(batch), size)] if size else [batch]
            yield from parts * 2 if size else parts


class ImageTextPairs:
    """Stage 2 samples: an augmented uint8 image, its row number and the epoch.

    Args:
        rows: Table from `load_pairs`.
        image_size: Side of the square image in pixels.
        first_image_size, num_first_epochs: Another, smaller side in the first epochs, which then take less time.
        min_crop_area: Smallest share of the image that a random crop keeps; 1 switches cropping off. Images are never
            mirrored: laterality is a finding.
        color_jitter: Largest relative change of brightness and contrast.
        seed: With epoch and row, fixes the augmentation.
        grayscale: Take the colour out.
        reduced_decoding: Reconstruct large JPEG files at a fraction of their size, yet so that no crop is enlarged for
            it. Several times faster on large figures; pixels differ a little from those of a full decoding.
    """

    def __init__(
        self,
        rows: Dataset,
        *,
        image_size: int,
        min_crop_area: float,
        color_jitter: float,
        seed: int,
        first_image_size: int | None = None,
        num_first_epochs: int = 0,
        grayscale: bool = False,
        reduced_decoding: bool = False,
    ) -> None:
        self.grayscale, self.reduced_decoding = grayscale, reduced_decoding
        self.rows, self.image_size, self.seed = rows, image_size, seed
        self.first_image_size, self.num_first_epochs = first_image_size or image_size, num_first_epochs
        self.min_crop_area, self.color_jitter = min_crop_area, color_jitter

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key
        return self.sample(epoch, row, self.rows[row]["image"])

    def sample(self, epoch: int, row: int, image: ImageSource) -> dict[str, Any]:
        """The image of a row as the epoch varies it, with both numbers."""
        rng = np.random.default_rng([self.seed, epoch, row])
        image_size = self.first_image_size if epoch < self.num_first_epochs else self.image_size
        enough_px = self.enough_px(image_size) if self.reduced_decoding else None
        picture = decode_image(image, enough_px=enough_px)
        if self.grayscale:
            picture = picture.convert("L").convert("RGB")
        return {"row": row, "epoch": epoch, "image": self.augment(picture, rng, image_size)}

    def enough_px(self, image_size: int) -> int:
        """Width and height of a picture of which no crop is enlarged to `image_size`."""
        return math.ceil(image_size / self._smallest_share)

    @property
    def _smallest_share(self) -> float:
        """Least part of the width or height that a crop of `augment` can have."""
        return math.sqrt(self.min_crop_area) * math.exp(-0.5 * (1 - self.min_crop_area))

    def augment(self, image: Image.Image, rng: np.random.Generator, image_size: int) -> np.ndarray:
        """Random crop of the frame, resized to a square, with brightness and contrast changed: (S, S, 3) uint8."""
        width, height = image.size
        area = rng.uniform(self.min_crop_area, 1.0)
        stretch = np.exp(rng.uniform(-0.5, 0.5) * (1.0 - area))  # full frames are not stretched
        share_x, share_y = min(1.0, np.sqrt(area) * stretch), min(1.0, np.sqrt(area) / stretch)
        left, top = rng.uniform(0, 1 - share_x) * width, rng.uniform(0, 1 - share_y) * height
        box = (left, top, left + share_x * width, top + share_y * height)
        resized = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(resized)
        if not self.color_jitter:
            return pixels
        brightness, contrast = 1 + rng.uniform(-self.color_jitter, self.color_jitter, size=2)
        mean = pixels.mean()
        levels = (np.arange(256) - mean) * contrast + mean * brightness  # of 256 values, not of every pixel
        return np.take(levels.clip(0, 255).astype(np.uint8), pixels)
