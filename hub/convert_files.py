"""Files of an open_clip checkpoint: its config, its weights, the config of its Hugging Face text tower."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    BertConfig,
    PreTrainedConfig,
)

from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.files import OPEN_CLIP_WEIGHTS, find_file, first_line
from phenolip.inference.adapters.open_clip import OPEN_CLIP_CONFIG

PICKLED_WEIGHTS = "open_clip_pytorch_model.bin"
_EMBEDDINGS = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
BERT_HEAD_WIDTH = 64  # of every BERT of Google's and Microsoft's; the tensors do not tell


def read_open_clip_config(checkpoint: str | Path, config: str | Path | None = None) -> dict[str, Any]:
    """`model_cfg` and `preprocess_cfg` of a checkpoint.

    Args:
        checkpoint: Folder, Hub id or file of weights with an open_clip_config.json beside.
        config: Another file: an open_clip_config.json, or one of open_clip's own `model_configs`.

    Raises:
        ConfigurationError: There is no such file, or it holds no config of two towers.
    """
    path = Path(config) if config else _beside(checkpoint, OPEN_CLIP_CONFIG)
    if path is None or not path.is_file():
        raise ConfigurationError(
            f"`checkpoint` {checkpoint} must have an {OPEN_CLIP_CONFIG}; there is none, so give one with --config."
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path} must hold JSON: {first_line(error)}.") from error
    if isinstance(settings, dict) and "model_cfg" not in settings:
        settings = {"model_cfg": settings}
    model = settings.get("model_cfg") if isinstance(settings, dict) else None
    towers = [model.get(name) if isinstance(model, dict) else None for name in ("vision_cfg", "text_cfg")]
    if not all(isinstance(tower, dict) for tower in towers) or not isinstance(model.get("embed_dim"), int):
        raise ConfigurationError(f"{path} must hold `model_cfg` with `embed_dim`, `vision_cfg` and `text_cfg`.")
    return {"model_cfg": model, "preprocess_cfg": settings.get("preprocess_cfg") or {}}


def read_weights(checkpoint: str | Path, allow_pickle: bool = False) -> tuple[Path, dict[str, torch.Tensor]]:
    """The file of the weights, and its tensors by name, those of a training checkpoint without their `module.`.

    Args:
        checkpoint: Folder, Hub id or file.
        allow_pickle: Read a pickled state dict where there is no safetensors file; torch then unpickles tensors alone.

    Raises:
        ConfigurationError: There is no such file, it is damaged, or is pickled and that is not allowed.
    """
    path = _weights_file(checkpoint, allow_pickle)
    try:
        if path.suffix == ".safetensors":
            return path, load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler stumbles in many ways
        kinds = (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError, LookupError, AttributeError)
        if not isinstance(error, kinds) and type(error).__name__ != "UnpicklingError":
            raise
        raise ConfigurationError(f"{path} must hold tensors alone: {first_line(error)}.") from error
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ConfigurationError(f"{path} must hold a state dict: names and tensors alone.")
    return path, {str(name).removeprefix("module."): value for name, value in weights.items()}


def _weights_file(checkpoint: str | Path, allow_pickle: bool) -> Path:
    path = Path(checkpoint) if Path(checkpoint).is_file() else find_file(checkpoint, OPEN_CLIP_WEIGHTS)
    if path is None and allow_pickle:
        path = find_file(checkpoint, PICKLED_WEIGHTS)
    if path is not None and (path.suffix == ".safetensors" or allow_pickle):
        return path
    if path is None and find_file(checkpoint, PICKLED_WEIGHTS) is None:
        raise ConfigurationError(f"`checkpoint` {checkpoint} must hold {OPEN_CLIP_WEIGHTS}; there is none.")
    raise ConfigurationError(
        f"`checkpoint` {checkpoint} must hold safetensors, got a pickled file; --allow_pickle reads tensors, and runs "
        "no code."
    )


def read_text_tower(
    checkpoint: str | Path, model: dict[str, Any], weights: dict[str, torch.Tensor], source: str | None = None
) -> dict[str, Any] | None:
    """Config of the Hugging Face text tower that an open_clip config names; None where it names none.

    The tensors tell all but the number of heads and the token of padding. So the config is read where it can be: from
    `source`, a folder beside the checkpoint, or the Hub; else the heads are 64 wide and padding is 0, as in every BERT
    of Google's and Microsoft's.

    Raises:
        ConfigurationError: The tower is no BERT, or its config does not fit the tensors.
    """
    name = source or model["text_cfg"].get("hf_model_name")
    if not name:
        return None
    shapes = _bert_shapes(weights)
    config = _text_config(checkpoint, str(name), given=source is not None)
    if config is None:
        config = BertConfig(**shapes, num_attention_heads=max(shapes["hidden_size"] // BERT_HEAD_WIDTH, 1))
    if config.model_type != "bert":
        raise ConfigurationError(f"`text_cfg.hf_model_name` must name a BERT, got {name}, a {config.model_type}.")
    for key, value in shapes.items():
        if getattr(config, key) != value:
            raise ConfigurationError(f"The config of {name} must have `{key}` {value}, got {getattr(config, key)}.")
    return {**config.to_dict(), "model_type": "bert"}


def _text_config(checkpoint: str | Path, name: str, given: bool) -> PreTrainedConfig | None:
    inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    folder = Path(checkpoint) if Path(checkpoint).is_dir() else Path(checkpoint).parent
    places = (
        [name] if given or re.fullmatch(r"[\w.-]+/[\w.-]+", name) else []
    )  # no path that a file names, but a Hub id
    for place in ([str(folder / name)] if inside and (folder / name).is_dir() else []) + places:
        try:
            return AutoConfig.from_pretrained(place, trust_remote_code=False)
        except (OSError, ValueError) as error:
            if given:
                raise ConfigurationError(f"`--text_tower` {name} must have a config: {first_line(error)}.") from error
    return None


def _bert_shapes(weights: dict[str, torch.Tensor]) -> dict[str, int]:
    prefix = "text.transformer."
    layers = {name.split(".")[4] for name in weights if name.startswith(f"{prefix}encoder.layer.")}
    try:
        embeddings = {name: weights[f"{prefix}embeddings.{name}_embeddings.weight"].shape for name in _EMBEDDINGS}
        middle = weights[f"{prefix}encoder.layer.0.intermediate.dense.weight"].shape[0]
    except KeyError as error:
        raise ConfigurationError(f"The checkpoint lacks {error.args[0]}, which the BERT of its config has.") from error
    sizes = {setting: embeddings[name][0] for name, setting in _EMBEDDINGS.items()}
    return sizes | {
        "hidden_size": embeddings["word"][1],
        "num_hidden_layers": len(layers),
        "intermediate_size": middle,
    }


def _beside(checkpoint: str | Path, name: str) -> Path | None:
    path = Path(checkpoint)
    return path.parent / name if path.is_file() else find_file(checkpoint, name)
