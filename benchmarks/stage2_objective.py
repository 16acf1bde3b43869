"""Stage 2 as the benchmarks of its step train it: the paper's loss, L_m and the teacher on captions, without names."""

from collections.abc import Sequence

import torch
from step_inputs import EMBED_DIM, MEAN, STD

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.tower_layers import choose_attention, first_layers
from phenolip.train.towers import build_preset


def base_model(layers: int, device: torch.device) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    """ViT-B/16 and BERT-base of random weights, cut to their first layers."""
    model, processor = build_preset("base", random_init=True)
    for side in (model.text_model, model.vision_model):
        side.tower = first_layers(side.tower, layers)
    model.to(device)
    choose_attention(model.text_model, device)
    return model, processor


def paper_objective(
    model: PhenoLIPModel,
    chunk_size: int,
    *,
    pixel_mean: Sequence[float] = MEAN,
    pixel_std: Sequence[float] = STD,
    knowledge_dim: int = EMBED_DIM,
) -> ImageTextObjective:
    """In training mode."""
    return ImageTextObjective(
        model,
        pixel_mean=list(pixel_mean),
        pixel_std=list(pixel_std),
        knowledge_weight=0.3,
        distillation={"contrastive": 1.0},
        knowledge_dim=knowledge_dim,
        share_scale=False,
        name_weight=0.0,
        mask_duplicates=True,
        caption_target_weight=0.0,
        chunk_size=chunk_size,
    ).train()
