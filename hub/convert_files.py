"""Files of an open_clip checkpoint: config, weights, config of a Hugging Face tower, tokenizer, image settings."""

import gzip
import json
import re
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    CLIPTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.files import OPEN_CLIP_WEIGHTS, find_file, first_line
from phenolip.inference.adapters.open_clip import OPEN_CLIP_CONFIG
from phenolip.train.towers import CLIP_MEAN_STD

PICKLED_WEIGHTS = "open_clip_pytorch_model.bin"
BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
BERT_HEAD_WIDTH = 64  # of every BERT of Google's and Microsoft's; the tensors do not tell
MAX_BPE_BYTES = 64 * 2**20


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


_EMBEDDINGS = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}


def read_tokenizer(
    checkpoint: str | Path, model: dict[str, Any], source: str | None = None, bpe: str | Path | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint: from `source`, its folder, the Hub, or for open_clip's own the BPE vocabulary.

    Raises:
        ConfigurationError: There is none, or its settings are such as transformers does not have.
    """
    text = model["text_cfg"]
    options = {key: value for key, value in (text.get("tokenizer_kwargs") or {}).items() if value not in (None, False)}
    if options not in ({}, {"clean": "whitespace"}, {"clean": "lower"}):
        raise ConfigurationError(f"`text_cfg.tokenizer_kwargs` must be left out, got {options}.")
    limit = text.get("context_length", 77)
    folder = Path(checkpoint) if Path(checkpoint).is_dir() else Path(checkpoint).parent
    has_files = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json"))
    named = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    place = source or (str(folder) if has_files else named)
    if place is None:
        return clip_tokenizer(_bpe_file(bpe), text.get("vocab_size", 49408), limit)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place, config=PreTrainedConfig(), model_max_length=limit, trust_remote_code=False,
            model_input_names=["input_ids", "attention_mask"],
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"`--tokenizer` must name a folder or Hub id with a tokenizer, got '{place}': {first_line(error)}."
        ) from error
    if tokenizer.is_fast:  # a file may carry the limit and padding of some earlier call
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _bpe_file(bpe: str | Path | None) -> Path:
    """The vocabulary of the first CLIP: that named, or the one in an installed open_clip, which is not imported."""
    if bpe is not None:
        return Path(bpe)
    from importlib.util import find_spec

    spec = find_spec("open_clip")
    found = Path(spec.origin).parent / BPE_FILE if spec and spec.origin else None
    if found is None or not found.is_file():
        raise ConfigurationError(
            f"open_clip's own tokenizer needs its vocabulary: give --bpe {BPE_FILE}, from open_clip_torch, "
            "or --tokenizer openai/clip-vit-base-patch32, which has the same."
        )
    return found


def clip_tokenizer(bpe: str | Path, vocab_size: int, max_length: int) -> CLIPTokenizer:
    """The CLIP tokenizer of transformers from open_clip's file of merges: the same ids.

    Args:
        bpe: Text or gzip, one merge a line after a first line that is skipped.
        vocab_size: Entries: 512 bytes, the merges, start and end. The file may hold more merges; they are not read.
        max_length: Tokens after which a text is cut, the end among them.

    Raises:
        ConfigurationError: The file cannot be read, or holds fewer merges.
    """
    path = Path(bpe)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            lines = file.read(MAX_BPE_BYTES).split("\n")[1 : vocab_size - 512 - 2 + 1]
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"`--bpe` {bpe} must be a file of merges: {first_line(error)}.") from error
    merges = [tuple(line.split()) for line in lines]
    if len(merges) != vocab_size - 514 or any(len(merge) != 2 for merge in merges):
        raise ConfigurationError(f"`--bpe` {bpe} must hold {vocab_size - 514} merges of two parts, one a line.")
    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


def image_processor(model: dict[str, Any], preprocess: dict[str, Any]) -> CLIPImageProcessorPil:
    """What open_clip does to a picture before its vision tower, by Pillow.

    Raises:
        ConfigurationError: The config asks for a way of resizing that is not known here.
    """
    size = preprocess.get("size") or model["vision_cfg"].get("image_size", 224)
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    mode, interpolation = preprocess.get("resize_mode") or "shortest", preprocess.get("interpolation") or "bicubic"
    if len(sides) != 1 or mode not in ("shortest", "squash") or interpolation not in ("bicubic", "bilinear"):
        raise ConfigurationError(
            "`preprocess_cfg` must resize to a square, `resize_mode` shortest or squash, `interpolation` bicubic "
            f"or bilinear, got {size}, {mode} and {interpolation}."
        )
    side = sides.pop()
    square = {"height": side, "width": side}
    mean, std = (preprocess.get(name) or CLIP_MEAN_STD[row] for row, name in enumerate(("mean", "std")))
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if mode == "shortest" else square,
        crop_size=square,
        do_center_crop=mode == "shortest",
        resample={"bilinear": 2, "bicubic": 3}[interpolation],
        image_mean=list(mean),
        image_std=list(std),
    )


def preprocess_config(processor: Any) -> dict[str, Any]:
    """The `preprocess_cfg` of open_clip for an image processor of ours.

    Raises:
        ConfigurationError: open_clip does not treat pictures that way.
    """
    settings = processor.to_dict()
    crop, size = settings.get("crop_size") or {}, settings.get("size") or {}
    squashes = not settings.get("do_center_crop") and size.get("height") == size.get("width") is not None
    side = size.get("height") if squashes else crop.get("height")
    whole = settings.get("do_resize", True) and settings.get("do_normalize", True) and settings.get("do_rescale", True)
    fits = squashes or (crop.get("width") == side == size.get("shortest_edge"))
    if not whole or not fits or settings.get("resample") not in (2, 3):
        raise ConfigurationError(
            "The image processor must resize to a square, or its shortest edge and crop, bicubic or bilinear, got "
            f"size {dict(size)}, crop {dict(crop)} and resample {settings.get('resample')}."
        )
    return {
        "size": side,
        "mode": "RGB",
        "mean": list(settings["image_mean"]),
        "std": list(settings["image_std"]),
        "interpolation": {2: "bilinear", 3: "bicubic"}[settings["resample"]],
        "resize_mode": "squash" if squashes else "shortest",
        "fill_color": 0,
    }


def _beside(checkpoint: str | Path, name: str) -> Path | None:
    path = Path(checkpoint)
    return path.parent / name if path.is_file() else find_file(checkpoint, name)
