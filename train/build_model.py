"""From settings to the model of Stage 2, ready to be trained, and its adapters."""

from typing import TYPE_CHECKING

import torch

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.adapters import add_adapters
from phenolip.train.patch_dropout import drop_patches
from phenolip.train.saved_model import load_saved
from phenolip.train.stage2_arguments import LossArguments, ModelArguments
from phenolip.train.tower_layers import choose_attention, freeze_batch_norm, freeze_first_blocks
from phenolip.train.towers import build_preset, reset_weights

if TYPE_CHECKING:
    from peft import PeftModel

CONVOLUTIONAL_TOWERS = ("efficientnet_lite", "resnet", "convnext")


def build_model(
    arguments: ModelArguments, loss: LossArguments, device: torch.device
) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    """Of the preset, or the saved one of `init_from`, on the device; what is not trained is frozen."""
    if arguments.init_from is not None:
        size = arguments.inference_image_size or arguments.image_size
        model, processor = load_saved(arguments.init_from, image_size=size, max_length=arguments.max_length)
        _prepare_for_training(model.to(device), arguments)
        return model, processor
    model, processor = build_preset(
        arguments.preset,
        text_path=loss.knowledge_encoder if arguments.init_from_teacher else arguments.text_path,
        vision_path=arguments.vision_path,
        image_size=arguments.inference_image_size or arguments.image_size,
        projection_dim=arguments.projection_dim,
        text_projection=arguments.text_projection,
        vision_projection=arguments.vision_projection,
        vision_dropout=arguments.vision_dropout,
        text_layers=arguments.text_layers,
        max_length=arguments.max_length,
    )
    _prepare_for_training(model.to(device), arguments)
    return model, processor


def build_adapters(model: PhenoLIPModel, arguments: ModelArguments) -> "PeftModel | None":
    """LoRA or DoRA around the model, in place; None where `lora_rank` is 0."""
    if not arguments.lora_rank:
        return None
    return add_adapters(
        model,
        arguments.init_from,
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        dropout=arguments.lora_dropout,
        targets=tuple(arguments.lora_targets),
        use_dora=arguments.use_dora,
    )


def _prepare_for_training(model: PhenoLIPModel, arguments: ModelArguments) -> None:
    if model.config.vision_config.tower_config.model_type in CONVOLUTIONAL_TOWERS:
        model.vision_model.to(memory_format=torch.channels_last)  # 1.7 times faster for EfficientNet-Lite on a CPU
    choose_attention(model.text_model, model.device)
    for name, parameter in model.vision_model.tower.named_parameters():
        if name.endswith("mask_token"):  # read in masked pretraining only; without a gradient it would stop DDP
            parameter.requires_grad_(False)
    if arguments.random_vision:
        reset_weights(model.vision_model.tower)
    for tower in model.vision_model.towers:
        if arguments.vision_blocks is not None:
            freeze_first_blocks(tower, arguments.vision_blocks)
        drop_patches(tower, arguments.patch_dropout)
    if arguments.freeze_text:
        model.text_model.tower.requires_grad_(False)
    if arguments.freeze_batch_norm:
        freeze_batch_norm(model)
    if arguments.gradient_checkpointing:
        model.activation_checkpointing_enable()
