"""The detector that is trained: DAB-DETR from random weights over a small ResNet, or any checkpoint of its family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForObjectDetection, DabDetrConfig, DabDetrForObjectDetection, ResNetConfig
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

from phenolip.exceptions import ConfigurationError
from phenolip.train.arguments import require, setting
from phenolip.train.composite_figures import LabelledFigure, collate_figures

LABEL = "subfigure"
PRIOR = 0.01  # score of every query before training, as in RetinaNet (Lin et al., 2017, arXiv 1708.02002)
NUM_FIGURES_MEASURED = 32
_SHARE_LIMITS = 0.02, 0.98  # an anchor on the border could not be moved by a sigmoid


@dataclass
class DetectorArguments:
    """Which detector is trained; the sizes are those of a random one, and ignored with `model_path`."""

    model_path: str | None = setting(
        None, help="Hub id or folder of a detector to start from, in safetensors; by default random weights."
    )
    revision: str | None = setting(None, help="Branch, tag or commit of `model_path` on the Hub.")
    image_size: int = setting(160, help="Side in pixels of the square that figures are stretched to.")
    num_queries: int = setting(40, help="Boxes that the model gives; figures with more subfigures are refused.")
    hidden_size: int = setting(128, help="Width of the transformer.")
    ffn_dim: int = setting(256, help="Width inside its feed-forward layers.")
    num_attention_heads: int = setting(4, help="Heads of each attention.")
    encoder_layers: int = setting(2, help="Layers of its encoder.")
    decoder_layers: int = setting(3, help="Layers of its decoder; each learns from the loss.")
    dropout: float = setting(0.0, help="Dropout in the transformer.")
    backbone_sizes: list[int] = setting(
        [32, 64, 128], help="Channels of each stage of the ResNet; the first is at a quarter of the side, then halves."
    )
    backbone_depths: list[int] = setting([1, 1, 1], help="Residual layers of each stage.")

    def __post_init__(self) -> None:
        require(self.image_size >= 32, "image_size", "at least 32 pixels", self.image_size)
        for name in ("num_queries", "ffn_dim", "num_attention_heads", "encoder_layers", "decoder_layers"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        step = 4 * self.num_attention_heads  # sine and cosine of two coordinates in each head
        require(
            self.hidden_size > 0 and self.hidden_size % step == 0,
            "hidden_size",
            f"a multiple of 4 times `num_attention_heads`, {step}",
            self.hidden_size,
        )
        require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        stages = self.backbone_sizes
        require(bool(stages) and min(stages) > 0, "backbone_sizes", "one or more numbers above 0", stages)
        depths = self.backbone_depths
        is_right = len(depths) == len(stages) and min(depths) > 0
        require(is_right, "backbone_depths", f"{len(stages)} numbers above 0", depths)


def build_detector(
    arguments: DetectorArguments, figures: Sequence[LabelledFigure], samples: Sequence
) -> tuple[nn.Module, DetrImageProcessorPil]:
    """The model, and the image processor that stretches figures to its square.

    Args:
        arguments: Which.
        figures: Training figures, whose number of boxes is checked.
        samples: The same as samples, keyed by (epoch, row); a random model starts from some of them.

    Raises:
        ConfigurationError: The checkpoint cannot be loaded, or a figure has more subfigures than there are queries.
    """
    size = {"height": arguments.image_size, "width": arguments.image_size}
    processor = DetrImageProcessorPil(size=size, do_pad=False)
    model = _pretrained(arguments) if arguments.model_path else _random(arguments)
    most = max(len(figure.boxes_xyxy) for figure in figures)
    allowed = f"at least {most}, the most subfigures of a figure in `data`"
    require(most <= num_queries(model), "num_queries", allowed, num_queries(model))
    if not arguments.model_path:
        rows = np.linspace(0, len(figures) - 1, min(len(figures), NUM_FIGURES_MEASURED)).astype(int)
        batch = collate_figures([samples[0, int(row)] for row in rows])
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std))
        measure_norms(model, (batch["pixels"].float() / 255 - mean) / std)
        place_anchors(model, batch["boxes"][batch["boxes"][..., 2] > 0])
    return model, processor


def num_queries(model: nn.Module) -> int:
    """How many boxes a detector gives for each image."""
    return getattr(model.config, "num_queries", None) or model.config.num_detection_tokens  # the latter of YOLOS


def _pretrained(arguments: DetectorArguments) -> nn.Module:
    try:
        return AutoModelForObjectDetection.from_pretrained(
            arguments.model_path,
            revision=arguments.revision,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # of the scores, where it knew other classes
            **_labels(),
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ConfigurationError(
            "`model_path` must be a Hub id or folder of an object-detection checkpoint in safetensors (one whose "
            f"backbone comes from timm needs `phenolip[detector]`), got '{arguments.model_path}' ({reason})."
        ) from None


def _random(arguments: DetectorArguments) -> DabDetrForObjectDetection:
    backbone = ResNetConfig(
        embedding_size=arguments.backbone_sizes[0],
        hidden_sizes=arguments.backbone_sizes,
        depths=arguments.backbone_depths,
        layer_type="basic",
        out_features=[f"stage{len(arguments.backbone_sizes)}"],
    )
    config = DabDetrConfig(
        backbone_config=backbone,
        num_queries=arguments.num_queries,
        hidden_size=arguments.hidden_size,
        encoder_layers=arguments.encoder_layers,
        decoder_layers=arguments.decoder_layers,
        encoder_ffn_dim=arguments.ffn_dim,
        decoder_ffn_dim=arguments.ffn_dim,
        encoder_attention_heads=arguments.num_attention_heads,
        decoder_attention_heads=arguments.num_attention_heads,
        dropout=arguments.dropout,
        auxiliary_loss=True,
        init_std=arguments.hidden_size**-0.5,  # Xavier of a square layer, as in DETR; the library's own is for 0.02
        initializer_bias_prior_prob=PRIOR,
        **_labels(),
    )
    return DabDetrForObjectDetection(config)


def _labels() -> dict[str, Any]:
    return {"id2label": {0: LABEL}, "label2id": {LABEL: 0}}


@torch.no_grad()
def measure_norms(model: DabDetrForObjectDetection, pixel_values: torch.Tensor) -> None:
    """Sets the statistics of the backbone's frozen batch norms from figures, one layer after the other.

    DAB-DETR takes a pretrained backbone and freezes its norms; over random weights they would pass values on as they
    come. Measuring them once is the data-dependent start of Kraehenbuehl et al., 2016 (arXiv 1511.06856).
    """

    def measure(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    backbone = model.model.backbone
    norms = [module for module in backbone.modules() if hasattr(module, "running_var")]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    backbone(pixel_values, torch.ones_like(pixel_values[:, 0]))
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def place_anchors(model: DabDetrForObjectDetection, boxes: torch.Tensor) -> None:
    """Starts each query from a box of the training figures, evenly over them: boxes (N, 4), shares, above 0."""
    anchors = model.model.query_refpoint_embeddings.weight
    by_place = boxes[np.lexsort(boxes.numpy().T)]
    rows = torch.linspace(0, len(boxes) - 1, len(anchors)).long()
    anchors.copy_(torch.logit(by_place[rows].clamp(*_SHARE_LIMITS)))
