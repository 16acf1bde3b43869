"""Configurations of PhenoLIP: a text tower, a vision tower, and the space that both project into."""

import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .configuration_efficientnet_lite import EfficientNetLiteConfig

# Poolings that a tower offers, its default first.
TEXT_POOLINGS = {
    "bert": ("mean", "cls", "max", "eos", "pooler"),
    "roberta": ("mean", "cls", "max", "eos", "pooler"),
    "modernbert": ("mean", "cls", "max", "eos"),
    "clip_text_model": ("pooler", "eos", "mean", "max"),
    "siglip_text_model": ("pooler", "mean", "max"),
}
VISION_POOLINGS = {
    "vit": ("cls", "mean", "max", "pooler"),
    "clip_vision_model": ("pooler", "cls", "mean", "max"),
    "siglip_vision_model": ("pooler", "mean", "max"),
    "dinov2": ("cls", "mean", "max", "pooler"),
    "resnet": ("mean", "max", "pooler"),
    "convnext": ("pooler", "mean", "max"),
    "efficientnet_lite": ("mean", "max", "pooler"),
}


def _resolve_tower(value: dict | PreTrainedConfig | None, default: str, allowed: dict) -> PreTrainedConfig:
    """Config of a tower from whatever stands in the field `tower_config`."""
    settings = {"model_type": default} if value is None else value
    is_dict = isinstance(settings, dict)
    model_type = settings.get("model_type") if is_dict else settings.model_type
    if model_type not in allowed:
        raise ValueError(f"`tower_config.model_type` must be one of {', '.join(allowed)}, got {model_type!r}.")
    if not is_dict:
        return settings
    settings = {key: value for key, value in settings.items() if key != "model_type"}
    if model_type == EfficientNetLiteConfig.model_type:
        return EfficientNetLiteConfig(**settings)
    return AutoConfig.for_model(model_type, **settings)


@strict
class _PhenoLIPTowerConfig(PreTrainedConfig):
    """What the two towers share: a model of transformers, a pooling and a projection."""

    sub_configs = {"tower_config": AutoConfig}
    _poolings = {}
    _default_tower = ""

    tower_config: dict | PreTrainedConfig | None = None
    pooling: Literal["mean", "cls", "max", "eos", "pooler"] | None = None
    projection: Literal["none", "linear", "mlp", "residual"] = "linear"
    projection_dim: int | None = None
    projection_init: Literal["normal", "identity"] = "normal"
    projection_dropout: float | int = 0.0
    projection_bias: bool | None = None
    projection_hidden_size: int | None = None
    num_parts: int = 1

    def __post_init__(self, **kwargs):
        self.tower_config = _resolve_tower(self.tower_config, self._default_tower, self._poolings)
        poolings = self._poolings[self.tower_config.model_type]
        self.pooling = self.pooling or poolings[0]
        if self.pooling not in poolings:
            allowed = ", ".join(poolings)
            raise ValueError(
                f"`pooling` of a {self.tower_config.model_type} tower must be one of {allowed}, got '{self.pooling}'."
            )
        if self.projection_dim is None:
            self.projection_dim = self.num_parts * self.part_size
        if self.projection_dim < 1:
            raise ValueError(f"`projection_dim` must be at least 1, got {self.projection_dim}.")
        self._check_parts()
        if self.projection == "none" and self.projection_dim != self.pooled_size:
            raise ValueError(
                f"`projection_dim` must be {self.pooled_size}, the width of the tower, where `projection` is 'none', "
                f"got {self.projection_dim}."
            )
        if self.projection_init == "identity" and self.projection not in ("linear", "residual"):
            raise ValueError(
                "`projection_init` 'identity' needs `projection` 'linear' or 'residual', got `projection` "
                f"'{self.projection}'."
            )
        if not 0 <= self.projection_dropout < 1:
            raise ValueError(f"`projection_dropout` must be at least 0 and below 1, got {self.projection_dropout}.")
        self._check_projection_layers()
        super().__post_init__(**kwargs)

    def _check_parts(self) -> None:
        if self.num_parts < 1 or self.projection_dim % self.num_parts:
            raise ValueError(
                f"`num_parts` must be at least 1 and divide `projection_dim`, which is {self.projection_dim}, got "
                f"{self.num_parts}."
            )
        if self.num_parts > 1 and self.projection == "none":
            raise ValueError(f"`num_parts` must be 1 where `projection` is 'none', got {self.num_parts}.")

    def _check_projection_layers(self) -> None:
        if self.projection_bias is not None and self.projection not in ("linear", "mlp"):
            raise ValueError(f"`projection_bias` needs `projection` 'linear' or 'mlp', got '{self.projection}'.")
        if self.projection_hidden_size is None:
            return
        if self.projection != "mlp" or self.projection_hidden_size < 1:
            raise ValueError(
                "`projection_hidden_size` must be at least 1, with `projection` 'mlp', got "
                f"{self.projection_hidden_size} with '{self.projection}'."
            )

    @property
    def num_towers(self) -> int:
        """Towers side by side, each with its own weights."""
        return 1

    @property
    def pooled_size(self) -> int:
        """Width of the pooled features, before the projection: those of all towers."""
        return self.num_towers * self.part_size

    @property
    def part_size(self) -> int:
        """Width of the pooled features of one tower, which is what one part of the embedding is projected from."""
        tower = self.tower_config
        if self.pooling == "pooler":
            for name in ("projection_size", "pooler_output_size"):  # a siglip text tower, a vit
                if getattr(tower, name, None) is not None:
                    return getattr(tower, name)
        hidden_size = getattr(tower, "hidden_size", None)
        return hidden_size if hidden_size is not None else tower.hidden_sizes[-1]


@strict
class PhenoLIPTextConfig(_PhenoLIPTowerConfig):
    r"""
    Configuration of a [`PhenoLIPTextModel`], the text side of PhenoLIP and its knowledge encoder.

    Args:
        tower_config (`dict` or `PreTrainedConfig`, *optional*):
            Config of the tower, `model_type` included: `bert` (the default), `roberta`, `modernbert`,
            `clip_text_model` or `siglip_text_model`.
        pooling (`str`, *optional*):
            How one vector comes from the tokens: `mean`, `max`, `cls` (the first), `eos` (the last that is not
            padding) or `pooler` (the tower's own). By default `mean`, for CLIP and SigLIP towers `pooler`.
        projection (`str`, *optional*, defaults to `"linear"`):
            `none`, `linear` (without bias), `mlp` (two layers, GELU between) or `residual` (linear, plus two layers on
            the normalised features that begin as zero).
        projection_dim (`int`, *optional*):
            Width of the embeddings; by default the width of the tower.
        projection_init (`str`, *optional*, defaults to `"normal"`):
            `normal` or, for a linear or residual projection, `identity`: the embeddings begin as the tower's own
            features, cut or filled with zeros where the widths differ.
        projection_dropout (`float`, *optional*, defaults to 0.0):
            Share of the pooled features that training drops before the projection.
        projection_bias (`bool`, *optional*):
            Whether a linear or mlp projection has biases; by default an mlp has and a linear one has not.
        projection_hidden_size (`int`, *optional*):
            Width between the two layers of an mlp; by default that of the pooled features.
        num_parts (`int`, *optional*, defaults to 1):
            Parts of the embedding, each from a projection of its own and all of one length.

    Example:

    ```python
    >>> config = PhenoLIPTextConfig(tower_config={"model_type": "bert", "hidden_size": 48}, projection_dim=16)
    >>> config.pooling
    'mean'
    ```"""

    model_type = "phenolip_text_model"
    base_config_key = "text_config"
    _poolings = TEXT_POOLINGS
    _default_tower = "bert"


@strict
class PhenoLIPVisionConfig(_PhenoLIPTowerConfig):
    r"""
    Configuration of a [`PhenoLIPVisionModel`], the image side of PhenoLIP.

    Args:
        tower_config (`dict` or `PreTrainedConfig`, *optional*):
            Config of the tower, `model_type` included: `vit` (the default), `clip_vision_model`,
            `siglip_vision_model`, `dinov2`, `resnet`, `convnext` or `efficientnet_lite`.
        pooling (`str`, *optional*):
            How one vector comes from the feature map: `mean` or `max` over the patches, `cls` (the first token) or
            `pooler` (the tower's own). By default `cls` for ViT and DINOv2, `mean` for ResNet and EfficientNet-Lite,
            `pooler` for CLIP, SigLIP and ConvNeXt (whose pooler normalises the mean).
        projection (`str`, *optional*, defaults to `"linear"`):
            `none`, `linear` (without bias), `mlp` (two layers, GELU between) or `residual` (linear, plus two layers on
            the normalised features that begin as zero).
        projection_dim (`int`, *optional*):
            Width of the embeddings; by default the width of the tower.
        projection_init (`str`, *optional*, defaults to `"normal"`):
            `normal` or, for a linear or residual projection, `identity`.
        projection_dropout (`float`, *optional*, defaults to 0.0):
            Share of the pooled features that training drops before the projection.
        projection_bias (`bool`, *optional*):
            Whether a linear or mlp projection has biases; by default an mlp has and a linear one has not.
        projection_hidden_size (`int`, *optional*):
            Width between the two layers of an mlp; by default that of the pooled features.
        num_parts (`int`, *optional*, defaults to 1):
            Parts of the embedding, each from a tower and a projection of its own, and all of one length.
    """

    model_type = "phenolip_vision_model"
    base_config_key = "vision_config"
    _poolings = VISION_POOLINGS
    _default_tower = "vit"

    @property
    def num_towers(self) -> int:
        """One for each part of the embedding."""
        return self.num_parts


@strict
class PhenoLIPConfig(PreTrainedConfig):
    r"""
    Configuration of a [`PhenoLIPModel`].

    Args:
        text_config (`dict` or `PhenoLIPTextConfig`, *optional*):
            The text side; by default a BERT.
        vision_config (`dict` or `PhenoLIPVisionConfig`, *optional*):
            The image side; by default a ViT.
        projection_dim (`int`, *optional*):
            Width of the space that both sides share. By default that of a side that names one, else 512.
        logit_scale_init_value (`float`, *optional*, defaults to ln(1 / 0.07)):
            Logarithm of the first inverse temperature.
        max_logit_scale (`float`, *optional*, defaults to 100.0):
            Bound that [`PhenoLIPModel.clamp_logit_scale`] keeps the inverse temperature under.

    Example:

    ```python
    >>> config = PhenoLIPConfig(vision_config={"tower_config": {"model_type": "efficientnet_lite"}}, projection_dim=64)
    >>> config.vision_config.pooling, config.text_config.projection_dim
    ('mean', 64)
    ```"""

    model_type = "phenolip"
    sub_configs = {"text_config": PhenoLIPTextConfig, "vision_config": PhenoLIPVisionConfig}

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    projection_dim: int | None = None
    logit_scale_init_value: float = math.log(1 / 0.07)
    max_logit_scale: float | int = 100.0

    def __post_init__(self, **kwargs):
        if self.max_logit_scale <= 0:
            raise ValueError(f"`max_logit_scale` must be above 0, got {self.max_logit_scale}.")
        sides = {"text_config": PhenoLIPTextConfig, "vision_config": PhenoLIPVisionConfig}
        values = {name: {} if getattr(self, name) is None else getattr(self, name) for name in sides}
        if self.projection_dim is None:
            named = [width for width in map(_projection_dim, values.values()) if width is not None]
            self.projection_dim = named[0] if named else 512
        for name, side in sides.items():
            value = values[name]
            if isinstance(value, dict):
                value = side(**{"projection_dim": self.projection_dim, **value})
            if value.projection_dim != self.projection_dim:
                raise ValueError(
                    f"`{name}.projection_dim` must equal `projection_dim`, which is {self.projection_dim}, "
                    f"got {value.projection_dim}."
                )
            setattr(self, name, value)
        if self.vision_config.num_parts != self.text_config.num_parts:
            raise ValueError(
                f"`text_config.num_parts` must equal `vision_config.num_parts`, which is "
                f"{self.vision_config.num_parts}, got {self.text_config.num_parts}."
            )
        super().__post_init__(**kwargs)


def _projection_dim(side: Any) -> int | None:
    return side.get("projection_dim") if isinstance(side, dict) else side.projection_dim


__all__ = ["PhenoLIPConfig", "PhenoLIPTextConfig", "PhenoLIPVisionConfig"]
