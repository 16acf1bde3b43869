"""Any vision tower as a pyramid of feature maps, finest first: what a decoder for dense tasks reads."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from phenolip.exceptions import ConfigurationError

_VIT_SCALES = (4.0, 2.0, 1.0, 0.5)  # of the token grid, by depth: Li et al. 2022 (arXiv 2203.16527), unlearned here


class FeatureMaps(nn.Module):
    """Feature maps of several strides from one forward pass.

    A convolutional tower gives the last map of each size. A transformer gives the tokens after a quarter, half, three
    quarters and all of its layers, as maps of 4, 2, 1 and 1/2 times the grid of its patches (bilinear; average for
    1/2); class and register tokens are left out, and position embeddings are interpolated to the size of the image.

    Args:
        tower: A vision model of `transformers`, or our EfficientNet-Lite.
        image_size: Side of the images in pixels; a transformer wants a multiple of its patch.

    Attributes:
        channels: Of each map.

    Raises:
        ConfigurationError: The size does not fit, or the tower gives no such features.

    Example:
        >>> from phenolip.modeling_efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel
        >>> FeatureMaps(EfficientNetLiteModel(EfficientNetLiteConfig()), 64).channels
        [16, 24, 40, 112, 320]
    """

    def __init__(self, tower: nn.Module, image_size: int) -> None:
        super().__init__()
        self.tower = tower
        patch = getattr(tower.config, "patch_size", 1)
        self.patch = patch if isinstance(patch, int) else patch[0]
        if getattr(tower.config, "model_type", "") == "convnext":
            self.patch = 1  # its patch is the stem, not a grid of tokens
        if image_size % self.patch:
            raise ConfigurationError(f"`image_size` must be a multiple of the patch {self.patch}, got {image_size}.")
        one = getattr(tower, "towers", [tower])[0]
        takes = inspect.signature(one.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        was_training = tower.training
        device = next(tower.parameters()).device
        try:
            with torch.no_grad():
                maps = self.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
        except (TypeError, AttributeError) as error:  # such as SigLIP 2's of any aspect, which wants more than pixels
            kind = type(tower).__name__
            raise ConfigurationError(
                f"A tower of {kind} must take pixels alone and show its layers; it does not."
            ) from error
        tower.train(was_training)
        self.channels = [feature_map.shape[1] for feature_map in maps]

    def forward(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) -> maps (N, C_i, H_i, W_i), the finest first."""
        output = self.tower(pixel_values=pixel_values, output_hidden_states=True, return_dict=True, **self.options)
        states = output.hidden_states
        if not states:
            raise ConfigurationError(f"A tower of {type(self.tower).__name__} shows no features of its layers.")
        if states[-1].ndim == 4:
            by_size = {state.shape[-1]: state for state in states}  # the last of each size
            return [by_size[size] for size in sorted(by_size, reverse=True)]
        rows, columns = (side // self.patch for side in pixel_values.shape[-2:])
        depth = len(states) - 1
        chosen = [states[-(-depth * quarter // 4)] for quarter in (1, 2, 3, 4)]
        return [_as_map(tokens, rows, columns, scale) for tokens, scale in zip(chosen, _VIT_SCALES, strict=True)]


def _as_map(tokens: torch.Tensor, rows: int, columns: int, scale: float) -> torch.Tensor:
    """(N, prefix + rows * columns, D) -> (N, D, rows * scale, columns * scale)."""
    grid = tokens[:, tokens.shape[1] - rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
    if scale < 1:
        return F.avg_pool2d(grid, 2, ceil_mode=True)
    return grid if scale == 1 else F.interpolate(grid, scale_factor=scale, mode="bilinear", align_corners=False)


def image_tower_of(encoder: Any) -> tuple[nn.Module, Any]:
    """The vision tower of an encoder, and its image processor, for mean and deviation.

    Raises:
        ConfigurationError: The encoder does not show a tower of `transformers`.
    """
    vision_model = getattr(getattr(encoder, "model", None), "vision_model", None)
    tower = getattr(vision_model, "tower", vision_model)
    processor = getattr(encoder, "image_processor", None)
    if getattr(tower, "config", None) is None or processor is None:
        name = getattr(encoder, "name", type(encoder).__name__)
        raise ConfigurationError(f"`model` {name} must show a vision tower of transformers; it shows none.")
    return tower, processor
