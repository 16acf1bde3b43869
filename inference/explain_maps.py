"""Maps of where in an image a score comes from: by gradients, or by covering squares of the image.

A score is the inner product of an image's unit embedding with a direction: the embedding of a phenotype's text gives
its cosine. Both maps are in the pixels of the model's input.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoding import inference_mode
from phenolip.modeling_phenolip import PhenoLIPModel


def gradient_map(model: PhenoLIPModel, pixel_values: torch.Tensor, direction: NDArray) -> NDArray[np.float32]:
    """Which places raise a score, from one pass forward and one back.

    A convolutional tower gives Grad-CAM on its last map (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2). A
    transformer gives gradient-weighted attention, rolled out over its layers (Chefer et al. 2021, arXiv 2103.15679,
    eq. 5 and 6). Deviation: the rollout is read where the score looks, the tokens weighted by the norm of its gradient
    at the last layer, which is the class token alone where that is pooled; so every pooling is served.

    Shapes: pixel_values (1, 3, H, W), as the image processor gives them; direction (D,); returns (H, W), at least 0,
    interpolated from the tower's grid.

    Raises:
        ConfigurationError: The tower shows neither a map nor its attention.
    """
    with _plain_attention(model), _eval_mode(model), torch.enable_grad():
        pixels = pixel_values.detach().clone().requires_grad_(True)  # a graph, though weights may be frozen
        vision = model.vision_model
        output = vision(pixels, **_options(vision))
        score = output.image_embeds[0].float() @ torch.as_tensor(direction, device=pixels.device, dtype=torch.float32)
        features = output.last_hidden_state
        if features.ndim == 4:
            grid = _grad_cam(features, *torch.autograd.grad(score, [features]))
        else:
            grid = _attention_rollout(vision, output, score, pixels.shape[-2:])
    grid = F.interpolate(grid[None, None].float(), pixels.shape[-2:], mode="bilinear", align_corners=False)
    return grid[0, 0].detach().cpu().numpy()


def occlusion_map(
    model: PhenoLIPModel,
    pixel_values: torch.Tensor,
    direction: NDArray,
    *,
    square_px: int | None = None,
    stride_px: int | None = None,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """How far a score falls when a square of the image is hidden (Zeiler and Fergus 2014, arXiv 1311.2901, section 4).

    A square is filled with the mean colour of the tower's training. The value of a pixel is the mean fall over all
    squares that cover it; squares reach over the edges, so that every pixel is covered equally often (where the stride
    divides the square). Exact, for any tower; the cost is one forward pass a square.

    Args:
        square_px: Side of a square in pixels of the model's input; by default a quarter of the image's longer side.
        stride_px: Step between squares; by default half a square.
        batch_size: Squares at a time.

    Shapes: pixel_values (1, 3, H, W), normalised; direction (D,); returns (H, W), negative where hiding raises the
    score.

    Raises:
        ConfigurationError: A size is out of range.
    """
    height, width = pixel_values.shape[-2:]
    square = max(1, max(height, width) // 4) if square_px is None else square_px
    stride = max(1, square // 2) if stride_px is None else stride_px
    if not 1 <= stride <= square <= max(height, width):
        raise ConfigurationError(
            f"`stride_px` must be at least 1 and at most `square_px`, and `square_px` at most the image's "
            f"{max(height, width)} pixels, got {stride} and {square}."
        )
    squares = [
        (slice(max(0, top), top + square), slice(max(0, left), left + square))
        for top in range(stride - square, height, stride)
        for left in range(stride - square, width, stride)
    ]
    target = torch.as_tensor(direction, device=pixel_values.device, dtype=torch.float32)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    with inference_mode(model):
        whole = float(model.get_image_features(pixel_values)[0].float() @ target)
        for start in range(0, len(squares), batch_size):
            chosen = squares[start : start + batch_size]
            hidden = pixel_values.repeat(len(chosen), 1, 1, 1)
            for row, (rows, columns) in enumerate(chosen):
                hidden[row, :, rows, columns] = 0.0  # the mean colour, once normalised
            scores = (model.get_image_features(hidden).float() @ target).tolist()
            for (rows, columns), score in zip(chosen, scores, strict=True):
                total[rows, columns] += whole - score
                count[rows, columns] += 1
    return (total / count).astype(np.float32)


def _options(vision: nn.Module) -> dict[str, Any]:
    """What a transformer must be asked for; towers that give maps take no such words."""
    is_transformer = hasattr(vision.config.tower_config, "num_attention_heads")
    return {"output_attentions": True} if is_transformer else {}


def _grad_cam(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Channels weighted by the mean of their gradient, positive part: (1, C, h, w) twice -> (h, w)."""
    return F.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1))[0]


def _attention_rollout(vision: nn.Module, output: Any, score: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Relevance of the patches of a transformer, (h, w)."""
    attentions = output.attentions
    if not attentions or any(attention is None for attention in attentions):
        kind = type(vision.tower).__name__
        raise ConfigurationError(
            f"A tower of {kind} must show its attention to be explained by gradients; use occlusion."
        )
    last, *gradients = torch.autograd.grad(score, [output.last_hidden_state, *attentions])
    looked = last[0].norm(dim=-1)  # (T,): how far the score looks at each token
    start = looked / looked.sum().clamp(min=torch.finfo(looked.dtype).tiny)
    relevance = start
    # R = (1 + A_L) ... (1 + A_1) read from one side: a row through all layers costs T^2 a layer, not T^3
    for attention, gradient in zip(reversed(attentions), reversed(gradients), strict=True):
        relevance = relevance + relevance @ F.relu(gradient[0] * attention[0]).mean(0)
    relevance = relevance - start  # what the identity alone would give says nothing of the image
    patch = vision.config.tower_config.patch_size
    patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
    rows, columns = size[0] // patch[0], size[1] // patch[1]
    return relevance[-rows * columns :].reshape(rows, columns).clamp(min=0)


@contextmanager
def _plain_attention(model: PhenoLIPModel) -> Iterator[None]:
    """Attention that shows its weights, for the time of the call."""
    towers = model.vision_model.towers
    before = getattr(towers[0].config, "_attn_implementation", None)
    if hasattr(towers[0].config, "num_attention_heads") and before not in (None, "eager"):
        for tower in towers:
            tower.set_attn_implementation("eager")
        try:
            yield
        finally:
            for tower in towers:
                tower.set_attn_implementation(before)
    else:
        yield


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in was_training.items():
            module.training = mode
