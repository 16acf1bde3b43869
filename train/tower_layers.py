"""Which layers of a tower are kept, trained or dropped out, and how a text tower reads in training."""

import copy
from types import MethodType

import torch
from torch import nn
from transformers import PreTrainedModel

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import UNPADDED

UNPADDED_FROM = 768  # width of a text tower from which it pays to read texts end to end on a CPU; see choose_attention
# Towers of stages: where the stages lie, and where each keeps its blocks.
STAGES = {"resnet": ("encoder.stages", "layers"), "convnext": ("encoder.stages", "layers")}


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """Makes every BatchNorm keep its running statistics, also after `model.train()`; its weights still train.

    Small batches give noisy statistics, and two processes with half a batch each would differ from one process.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train = MethodType(_stay_in_eval, module)
            module.eval()
    return model


def freeze_first_blocks(tower: PreTrainedModel, num_trained: int) -> None:
    """Trains only the last blocks of a tower, and what follows them; 0 freezes all of it.

    Blocks are the entries of the tower's longest module list (16 in EfficientNet-Lite0, 12 in ViT-B), in ResNet and
    ConvNeXt those of all stages (16 and 18 in ResNet-50 and ConvNeXt-T). What is frozen needs no backward pass: the
    early, large feature maps of a convolutional tower are most of its cost.

    Raises:
        ConfigurationError: The tower has fewer blocks, none that can be told apart, or none with weights among the
            last.
    """
    blocks = _blocks(tower)
    if not 0 <= num_trained <= len(blocks):
        raise ConfigurationError(f"`vision_blocks` must be from 0 to {len(blocks)} for this tower, got {num_trained}.")
    if num_trained == 0:
        tower.requires_grad_(False)
        return
    first_trained = next((p for block in blocks[-num_trained:] for p in block.parameters()), None)
    if first_trained is None:
        raise ConfigurationError(f"`vision_blocks` must reach a block with weights in this tower, got {num_trained}.")
    for parameter in tower.parameters():  # in the order of the forward pass
        if parameter is first_trained:
            return
        parameter.requires_grad_(False)


def first_layers(tower: PreTrainedModel, num_layers: int) -> PreTrainedModel:
    """A tower of the first layers of a transformer, with its weights: cheaper, and less of a sentence encoder.

    Raises:
        ConfigurationError: The tower has fewer layers.
    """
    most = tower.config.num_hidden_layers
    if not 1 <= num_layers <= most:
        raise ConfigurationError(f"`text_layers` must be from 1 to {most} for this tower, got {num_layers}.")
    first = copy.deepcopy(tower)
    del _longest_module_list(first)[num_layers:]
    first.config.num_hidden_layers = num_layers
    if getattr(first.config, "layer_types", None):
        first.config.layer_types = first.config.layer_types[:num_layers]
    return first


def choose_attention(model: PreTrainedModel, device: torch.device) -> None:
    """How texts are read in training: wide towers on a CPU end to end, without padding; others in chunks.

    Measured with two threads: BERT-base is 1.2 to 1.3 times as fast end to end in float32 and as fast in bfloat16;
    MiniLM, 384 wide, is 1.1 to 1.6 times slower, for products of single texts are too small. On a GPU a kernel for
    every text would cost more than the padding does; chunks of few widths suit it.
    """
    if device.type != "cpu":
        model.width_multiple = 8
    elif model.config.tower_config.hidden_size >= UNPADDED_FROM:
        model.tower.set_attn_implementation(UNPADDED)  # of the whole model it would warn of a tower unseen


def set_dropout(model: nn.Module, probability: float) -> None:
    """Sets every dropout layer of a model."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def _blocks(tower: PreTrainedModel) -> list[nn.Module]:
    """Blocks of a tower, in the order of the forward pass."""
    if tower.config.model_type in STAGES:
        stages, layers = STAGES[tower.config.model_type]
        return [block for stage in tower.get_submodule(stages) for block in stage.get_submodule(layers)]
    return list(_longest_module_list(tower))


def _longest_module_list(tower: PreTrainedModel) -> nn.ModuleList:
    """Where a transformer keeps its layers, and EfficientNet-Lite its blocks."""
    return max((m for m in tower.modules() if isinstance(m, nn.ModuleList)), key=len, default=nn.ModuleList())


def _stay_in_eval(self: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(self, False)
