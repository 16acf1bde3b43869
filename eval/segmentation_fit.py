"""A small U-Net over the feature maps of an encoder, trained on a few masked images."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from phenolip.datasets_scripts.masked_images import MaskedImages
from phenolip.eval.metrics.dice import THRESHOLDS, dice_of_counts, pixel_counts
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image
from phenolip.inference.feature_maps import FeatureMaps

KEPT_BYTES = 2**30  # of pixels or features of frozen encoders that are kept instead of computed again
HALF = THRESHOLDS.index(0.5)


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """How a decoder is trained; all of it is ours.

    Attributes:
        image_size: Side in pixels that images and masks are squeezed to.
        num_steps: Steps of AdamW, one-cycle schedule.
        batch_size: Images of a step.
        learning_rate: Peak for the decoder.
        encoder_learning_rate: Peak for a fine-tuned encoder.
        decoder_width: Channels of the decoder, a multiple of 16.

    Raises:
        ConfigurationError: A value is out of range.
    """

    image_size: int = 224
    num_steps: int = 200
    batch_size: int = 8
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    decoder_width: int = 32

    def __post_init__(self) -> None:
        for name in ("image_size", "num_steps", "batch_size", "decoder_width"):
            value, multiple = getattr(self, name), 16 if name == "decoder_width" else 1  # of groups of channels
            if not isinstance(value, int) or value < 1 or value % multiple:
                kind = f"a multiple of {multiple}" if multiple > 1 else "a whole number of at least 1"
                raise ConfigurationError(f"`{name}` must be {kind}, got {value!r}.")
        for name in ("learning_rate", "encoder_learning_rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigurationError(f"`{name}` must be a number above 0, got {value!r}.")


@dataclass(frozen=True, slots=True)
class SegmentationFit:
    """One training run.

    Attributes:
        counts: (N, 3) pixels of mask, prediction and both, of the test images at the threshold that is best on the
            validation images.
        counts_at_half: (N, 3) the same at 0.5.
        threshold: The one chosen.
        validation_dice: Mean of the validation images at it.
        losses: Of each step.
        network: The trained network, in eval mode.
    """

    counts: NDArray
    counts_at_half: NDArray
    threshold: float
    validation_dice: float
    losses: list[float]
    network: "SegmentationNetwork"

    @property
    def dice(self) -> NDArray:
        """(N,) of the test images at the threshold."""
        return dice_of_counts(self.counts)

    @property
    def dice_at_half(self) -> NDArray:
        """(N,) of the test images at 0.5."""
        return dice_of_counts(self.counts_at_half)


class UNetDecoder(nn.Module):
    """Feature maps and the image itself -> one logit a pixel.

    Every map is brought to `width` channels, normalised in groups, and joined with the coarser ones from below; the
    image joins at full size, since fine structures are lost in any map.

    Shapes: maps (N, C_i, H_i, W_i), finest first; pixels (N, 3, H, W); returns (N, H, W).
    """

    def __init__(self, channels: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(size, width, 1), nn.GroupNorm(8, width), nn.ReLU()) for size in channels
        )
        self.joins = nn.ModuleList(_block(2 * width, width) for _ in channels[1:])
        self.image = _block(3, width // 2)
        self.last = nn.Sequential(_block(width + width // 2, width // 2), nn.Conv2d(width // 2, 1, 1))

    def forward(self, maps: Sequence[torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
        """Joins from the coarsest map to the image."""
        maps = [lateral(feature_map) for lateral, feature_map in zip(self.lateral, maps, strict=True)]
        joined = maps[-1]
        for finer, join in zip(maps[-2::-1], self.joins, strict=True):
            joined = join(torch.cat([_resized(joined, finer), finer], dim=1))
        image = self.image(pixels)
        return self.last(torch.cat([_resized(joined, image), image], dim=1)).squeeze(1)


class SegmentationNetwork(nn.Module):
    """Encoder and decoder; the encoder stays in eval mode, so that no running statistics are of a few images.

    Args:
        maps: The encoder, which this network owns from here on.
        frozen: Whether it stays as it is.
        width: Channels of the decoder.
    """

    def __init__(self, maps: FeatureMaps, *, frozen: bool, width: int) -> None:
        super().__init__()
        self.maps, self.frozen = maps.requires_grad_(not frozen), frozen
        self.decoder = UNetDecoder(maps.channels, width)

    def train(self, mode: bool = True) -> "SegmentationNetwork":
        """The decoder's mode; the encoder's does not change."""
        self.training = mode
        self.decoder.train(mode)
        self.maps.eval()
        return self

    def features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The maps, without a graph where the encoder is frozen."""
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            return self.maps(pixels)


class Pixels:
    """Images as the encoder wants them and masks, squeezed to squares; kept while they fit into memory."""

    def __init__(self, images: MaskedImages, side: int, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.images, self.side = images, side
        self.mean, self.deviation = np.float32(mean), np.float32(deviation)
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.num_kept = KEPT_BYTES // (16 * side * side)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(3, side, side) pixels and (side, side) mask of 0 to 1, the share of each pixel that is covered."""
        if row in self._kept:
            return self._kept[row]
        size = (self.side, self.side)
        picture = decode_image(self.images.images[row]).resize(size, Image.Resampling.BILINEAR)
        values = (np.asarray(picture, np.float32) / 255 - self.mean) / self.deviation
        mask = Image.fromarray(self.images.mask(row).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        found = torch.from_numpy(values).permute(2, 0, 1).contiguous(), torch.from_numpy(np.float32(mask) / 255)
        if len(self._kept) < self.num_kept:
            self._kept[row] = found
        return found


def fit_segmentation(
    maps: FeatureMaps,
    parts: Sequence[Pixels],
    rows: NDArray,
    settings: SegmentationSettings,
    *,
    frozen: bool,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
) -> SegmentationFit:
    """Trains on some rows, chooses the threshold on the validation images, scores the test images.

    Args:
        maps: The encoder; a copy of it is trained.
        parts: Train, validation and test.
        rows: Rows of the training images.
        settings: How.
        frozen: Whether the encoder stays as it is.
        seed: Of the decoder's weights and the order.
        on_step: Called after each step.

    Raises:
        DataError: The loss is NaN or infinite.
    """
    train, validation, test = parts
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SegmentationNetwork(copy.deepcopy(maps), frozen=frozen, width=settings.decoder_width)
    network.to(next(maps.parameters()).device)
    losses = _train(network, train, rows, settings, seed, on_step)
    network.eval()
    held_out, asked = (mask_counts(network, part) for part in (validation, test))
    means = dice_of_counts(held_out).mean(axis=0)
    best = max(range(len(THRESHOLDS)), key=lambda place: (means[place], -abs(place - HALF)))
    return SegmentationFit(asked[:, best], asked[:, HALF], THRESHOLDS[best], float(means[best]), losses, network)


def _train(
    network: SegmentationNetwork,
    train: Pixels,
    rows: NDArray,
    settings: SegmentationSettings,
    seed: int,
    on_step: Callable[[], object],
) -> list[float]:
    groups = [{"params": network.decoder.parameters(), "lr": settings.learning_rate}]
    if not network.frozen:
        groups.append({"params": network.maps.parameters(), "lr": settings.encoder_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=settings.num_steps + 1)
    device = next(network.parameters()).device
    order, losses = np.random.default_rng(seed), []
    kept: dict[int, list[torch.Tensor]] = {}
    queue: list[int] = []
    network.train()
    for _ in range(settings.num_steps):
        while len(queue) < min(settings.batch_size, len(rows)):
            queue += order.permutation(rows).tolist()
        batch, queue = queue[: settings.batch_size], queue[settings.batch_size :]
        pixels, masks = (torch.stack(part).to(device) for part in zip(*(train[row] for row in batch), strict=True))
        features = _frozen_features(network, batch, pixels, kept) if network.frozen else network.features(pixels)
        loss = segmentation_loss(network.decoder(features, pixels), masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise DataError(
                f"The decoder's loss is {losses[-1]} in step {len(losses)}: the features of `model` are not finite, "
                "or `learning_rate` is too high."
            )
        on_step()
    return losses


def _frozen_features(
    network: SegmentationNetwork, batch: Sequence[int], pixels: torch.Tensor, kept: dict[int, list[torch.Tensor]]
) -> list[torch.Tensor]:
    """As the network gives them; each image is encoded once, as far as memory allows."""
    new = [place for place, row in enumerate(batch) if row not in kept]
    found = dict(kept)
    if new:
        maps = network.features(pixels[new])
        found |= {batch[place]: [part[at] for part in maps] for at, place in enumerate(new)}
        size = sum(part[0].numel() * part.element_size() for part in maps)
        kept.update(dict(list(found.items())[: KEPT_BYTES // size]))
    return [torch.stack(level) for level in zip(*(found[row] for row in batch), strict=True)]


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Mean binary cross entropy, plus 1 minus the soft Dice of each image, in nats.

    Shapes: logits (N, H, W); masks (N, H, W) of 0 to 1; returns a scalar.
    """
    chances = logits.sigmoid()
    shared = (chances * masks).sum(dim=(1, 2))
    soft_dice = (2 * shared + 1) / (chances.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - soft_dice).mean()


@torch.inference_mode()
def predict_mask(network: SegmentationNetwork, pixels: torch.Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) probabilities of one image at the size of its mask."""
    pixels = pixels[None].to(next(network.parameters()).device)
    logits = network.decoder(network.features(pixels), pixels)[None]
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0, 0].sigmoid().float().cpu().numpy()


def mask_counts(network: SegmentationNetwork, part: Pixels) -> NDArray:
    """(N, T, 3) pixels of mask, prediction and both, of every image at every threshold, at the mask file's size."""
    counts = []
    for row in range(len(part)):
        mask = part.images.mask(row)
        counts.append(pixel_counts(predict_mask(network, part[row][0], mask.shape), mask))
    return np.stack(counts)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.GroupNorm(8, out_channels), nn.ReLU(inplace=True)
    )


def _resized(feature_map: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(feature_map, size=like.shape[-2:], mode="bilinear", align_corners=False)
