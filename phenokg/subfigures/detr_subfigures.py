"""Subfigures by a trained detector: any object-detection checkpoint of `transformers`, from the Hub or a folder.

torch and transformers are imported when a detector is loaded. Weights are read from safetensors only, and code that
comes with a checkpoint is never run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.box_cleaning import SCORE_THRESHOLD, boxes_in_pixels, clean_boxes, object_scores

if TYPE_CHECKING:
    import torch

Detector = Callable[[Sequence[Image.Image]], list[list[PixelBox]]]

DEFAULT_MODEL = "vector-institute/pmc-18m-dab-detr"  # DAB-DETR of Open-PMC-18M, arXiv 2506.02738; Apache-2.0
STRIDE_PX = 32  # of the backbones of the DETR family; sides are rounded to it
_WINDOW_BATCHES = 8  # images that are brought to size before batches of one size are formed


class DetectorSettings(Protocol):
    """What `load_detector` reads; the fields are those of `DetectorConfig`."""

    model: str
    revision: str | None
    score_threshold: float
    batch_size: int
    device: str


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Which detector, and how it is run.

    Attributes:
        model: Hub id or folder of an object-detection checkpoint of `transformers`.
        revision: Branch, tag or commit on the Hub; None takes its default branch.
        score_threshold: Boxes that score less are left out; 0 to 1.
        batch_size: Images that go through the model together.
        device: As torch names it, such as "cpu" or "cuda:1"; "auto" is an accelerator where there is one.
    """

    model: str = DEFAULT_MODEL
    revision: str | None = None
    score_threshold: float = SCORE_THRESHOLD
    batch_size: int = 8
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigurationError("`model` must be a Hub id or a folder, got ''.")
        if not 0 <= self.score_threshold <= 1:
            raise ConfigurationError(f"`score_threshold` must be from 0 to 1, got {self.score_threshold}.")
        if self.batch_size < 1:
            raise ConfigurationError(f"`batch_size` must be at least 1, got {self.batch_size}.")


def load_detector(config: DetectorSettings) -> Detector:
    """A function from RGB images to the boxes of their subfigures, in reading order.

    An image in which nothing is found gives one box, the image. What an image gives does not depend on the others:
    sides are rounded to multiples of 32 pixels and only images of one size share a batch, so that there is no padding.
    (Checkpoints differ in whether boxes are shares of an image or of the padded batch.)

    Raises:
        ConfigurationError: torch or transformers is missing, the checkpoint cannot be loaded, or there is no such
            device.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
    except ImportError as error:
        raise ConfigurationError(
            f"A detector needs torch and transformers, and {error.name} is missing; `pip install phenolip` has both."
        ) from None

    device = _device(config.device)
    source = {"revision": config.revision, "trust_remote_code": False}
    try:
        model_config = AutoConfig.from_pretrained(config.model, **source)
        _check_timm(model_config, config.model)
        processor = AutoImageProcessor.from_pretrained(config.model, **source, backend="pil")
        model, loading = AutoModelForObjectDetection.from_pretrained(
            config.model,
            config=model_config,
            **source,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except ConfigurationError:
        raise
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise _unusable(config, _first_line(error)) from None
    if loading["missing_keys"]:
        raise _unusable(config, f"its weights lack {min(loading['missing_keys'])}")
    return DetrDetector(model.eval().to(device), processor, config.score_threshold, config.batch_size)


class DetrDetector:
    """Calls a detector on images; the parts are those of `load_detector`.

    Args:
        model: Gives `logits` and `pred_boxes`, centre and size in shares of the image.
        processor: Image processor of the model.
        score_threshold: Boxes that score less are left out.
        batch_size: Images that go through the model together.
    """

    def __init__(self, model: Any, processor: Any, score_threshold: float, batch_size: int) -> None:
        self.model, self.processor = model, processor
        self.score_threshold, self.batch_size = score_threshold, batch_size

    def __call__(self, images: Sequence[Image.Image]) -> list[list[PixelBox]]:
        """Boxes of each image, right and bottom exclusive, in its pixels and in reading order."""
        found: list[list[PixelBox]] = [[] for _ in images]
        window = self.batch_size * _WINDOW_BATCHES
        for start in range(0, len(images), window):
            for rows, pixel_values in self._batches(images, range(start, min(start + window, len(images)))):
                for row, boxes in zip(rows, self._detect(pixel_values, [images[row] for row in rows]), strict=True):
                    found[row] = boxes
        return found

    def _batches(self, images: Sequence[Image.Image], rows: range) -> Iterator[tuple[list[int], np.ndarray]]:
        """Rows of images of one size, and their pixels (n, 3, H, W)."""
        by_shape: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)
        for row in rows:
            pixels = self._pixels(images[row].convert("RGB"))
            by_shape[pixels.shape].append((row, pixels))
        for members in by_shape.values():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                yield [row for row, _ in batch], np.stack([pixels for _, pixels in batch])

    def _pixels(self, image: Image.Image) -> np.ndarray:
        size = snapped_size(image.size, dict(self.processor.size or {}))
        if size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        settings = {"do_pad": False} | ({"do_resize": False} if size else {})
        return np.asarray(self.processor(images=image, return_tensors="np", **settings)["pixel_values"][0])

    def _detect(self, pixel_values: np.ndarray, images: Sequence[Image.Image]) -> list[list[PixelBox]]:
        import torch

        with torch.inference_mode():
            outputs = self.model(pixel_values=torch.from_numpy(pixel_values).to(self.model.device))
        logits, shares = (tensor.float().cpu().numpy() for tensor in (outputs.logits, outputs.pred_boxes))
        num_labels = self.model.config.num_labels
        return [
            clean_boxes(
                boxes_in_pixels(boxes, *image.size),
                object_scores(scores, num_labels),
                *image.size,
                score_threshold=self.score_threshold,
            )
            for image, scores, boxes in zip(images, logits, shares, strict=True)
        ]


def snapped_size(size: tuple[int, int], rule: dict[str, int | None]) -> tuple[int, int] | None:
    """Width and height that a rule of shortest and longest edge asks for, each rounded to a multiple of 32 pixels.

    None where the rule is another, such as a fixed width and height: the image processor then follows it by itself.

    Example:
        >>> snapped_size((700, 500), {"shortest_edge": 800, "longest_edge": 1333})
        (1120, 800)
    """
    shortest, longest = rule.get("shortest_edge"), rule.get("longest_edge")
    if not shortest:
        return None
    scale = shortest / min(size)
    if longest:
        scale = min(scale, longest / max(size))
    width, height = (max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in size)
    return width, height


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigurationError(f"`device` must be 'auto' or one that torch finds here, got '{name}'.") from None


def _check_timm(model_config: Any, model: str) -> None:
    """Raises where the backbone comes from timm and timm cannot be used."""
    backbone = getattr(model_config, "backbone_config", None)
    if getattr(backbone, "model_type", None) != "timm_backbone":
        return
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError, AttributeError) as error:  # its torchvision fails so beside another torch
        raise ConfigurationError(
            f"The backbone of `model` '{model}' comes from timm, which cannot be used here ({_first_line(error)}); "
            "install `phenolip[detector]`, with the torchvision that fits its torch, in an environment of its own."
        ) from None


def _unusable(config: DetectorSettings, reason: str) -> ConfigurationError:
    revision = f" at revision '{config.revision}'" if config.revision else ""
    return ConfigurationError(
        "`model` must be a Hub id or folder of an object-detection checkpoint of transformers in safetensors, without "
        f"code of its own, got '{config.model}'{revision} ({reason})."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
