"""Patch dropout: a vision transformer learns from a random part of an image's patches, at that part of the cost."""

import torch
from torch import nn
from transformers import PreTrainedModel

from phenolip.exceptions import ConfigurationError

# Towers whose `embeddings` give tokens (n, prefix + patches, C), and how many stand before the patches.
NUM_PREFIX_TOKENS = {"vit": 1, "clip_vision_model": 1, "dinov2": 1, "siglip_vision_model": 0}


def drop_patches(tower: PreTrainedModel, share: float) -> None:
    """Makes a tower drop a share of the patches of each image, drawn anew in each forward pass of training.

    The class token stays; nothing is dropped in evaluation. A ViT-B/16 that drops half of 196 patches computes 99 of
    197 tokens. The last part of a training is best run without it, so that the model sees whole images.

    Args:
        tower: Vision transformer of a PhenoLIPVisionModel.
        share: Of the patches, from 0 (none) to below 1; at least one patch stays.

    Raises:
        ConfigurationError: The share is out of range, or the tower has no patches.

    Source: Li et al. 2022, Scaling Language-Image Pre-training via Masking (FLIP), arXiv 2212.00794, section 3.
    """
    if not 0 <= share < 1:
        raise ConfigurationError(f"`patch_dropout` must be at least 0 and below 1, got {share!r}.")
    if share == 0:
        return
    tower_type = tower.config.model_type
    if tower_type not in NUM_PREFIX_TOKENS:
        allowed = ", ".join(NUM_PREFIX_TOKENS)
        raise ConfigurationError(f"`patch_dropout` must be 0 unless the tower is one of {allowed}, got {tower_type}.")
    num_prefix = NUM_PREFIX_TOKENS[tower_type]

    def drop(module: nn.Module, args: tuple, tokens: torch.Tensor) -> torch.Tensor | None:
        return keep_some(tokens, num_prefix, share) if module.training else None

    tower.embeddings.register_forward_hook(drop)


def keep_some(tokens: torch.Tensor, num_prefix: int, share: float) -> torch.Tensor:
    """Tokens (n, num_prefix + P, C) -> (n, num_prefix + K, C), the K = round((1 - share) P) patches in their order."""
    num_images, num_tokens, width = tokens.shape
    num_kept = max(1, round((1 - share) * (num_tokens - num_prefix)))
    draws = torch.rand(num_images, num_tokens - num_prefix, device=tokens.device)
    kept = draws.topk(num_kept, dim=1).indices.sort(dim=1).values + num_prefix  # (n, K)
    patches = tokens.gather(1, kept.unsqueeze(-1).expand(-1, -1, width))
    return torch.cat([tokens[:, :num_prefix], patches], dim=1)
