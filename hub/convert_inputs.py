"""What makes inputs of texts and pictures: the tokenizer and the image settings of an open_clip checkpoint."""

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.files import first_line
from phenolip.train.towers import CLIP_MEAN_STD

BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
MAX_BPE_BYTES = 64 * 2**20


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
