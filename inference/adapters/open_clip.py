"""Models of open_clip: OpenCLIP, CoCa, BiomedCLIP, BIOMEDICA and others that come with an open_clip_config.json.

open_clip needs torchvision, which does not import beside the CPU build of torch: `make venv-open-clip` makes an
environment of its own for it.
"""

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.base import DualEncoder
from phenolip.inference.adapters.files import (
    OPEN_CLIP_WEIGHTS,
    file_hashes,
    find_file,
    first_line,
    read_json,
    weight_files,
)
from phenolip.inference.encoding import usable_device

OPEN_CLIP_CONFIG = "open_clip_config.json"
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "pure_bf16", torch.float16: "pure_fp16"}
_SCHEMAS = ("hf-hub:", "local-dir:")  # open_clip's own spellings


class OpenClipEncoder(DualEncoder):
    """Any architecture that open_clip builds from a config, with open_clip's own transform and tokenizer.

    Weights are read from `open_clip_model.safetensors` alone, and all of them must be there. Code of a repository is
    never run. A text tower or tokenizer that the config names on the Hub is fetched from there.

    Args:
        model: As `open_clip.create_model` returns it.
        tokenizer: As `open_clip.get_tokenizer` returns it.
        transform: open_clip's transform for evaluation.
        name: Folder or Hub id.
        weights: File name -> sha256.
    """

    family = "open_clip"

    def __init__(
        self, model: nn.Module, tokenizer: Any, transform: Any, *, name: str, weights: dict[str, str]
    ) -> None:
        super().__init__(model, name=name, weights=weights)
        self.tokenizer = tokenizer
        self.transform = transform

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | torch.device | None = None, *, dtype: torch.dtype = torch.float32
    ) -> "OpenClipEncoder":
        """Reads a folder or Hub repository with an open_clip_config.json.

        Raises:
            ConfigurationError: open_clip is not installed, a file is missing or damaged, or the weights do not fit.
        """
        path = _without_schema(str(path))
        settings = check_config(path, read_json(path, OPEN_CLIP_CONFIG))
        (file,) = weight_files(path, OPEN_CLIP_WEIGHTS, sharded=False)
        if find_spec("open_clip") is None:
            raise ConfigurationError(
                f"`model` {path} needs the package open_clip_torch: run `make venv-open-clip`, then "
                "`.venv-open-clip/bin/phenolip eval ...`."
            )
        if dtype not in _PRECISIONS:
            raise ConfigurationError(f"`dtype` must be one of {', '.join(map(str, _PRECISIONS))}, got {dtype}.")
        device = usable_device(device)
        try:
            model, tokenizer, transform = _build(path, settings, device, _PRECISIONS[dtype])
        # whatever a config can make open_clip, timm or transformers stumble over
        except (OSError, ValueError, TypeError, LookupError, RuntimeError, AttributeError, AssertionError) as error:
            raise ConfigurationError(f"`model` {path} cannot be loaded by open_clip: {first_line(error)}.") from error
        return cls(model, tokenizer, transform, name=path, weights=file_hashes([file]))

    @property
    def context_length(self) -> int:
        """Tokens after which the tokenizer cuts."""
        return self.tokenizer.context_length

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Whole length of each text in tokens, special ones included."""
        if hasattr(self.tokenizer, "encode"):  # open_clip's own tokenizer, which adds a start and an end
            return [len(self.tokenizer.encode(text)) + 2 for text in texts]
        cleaned = [self.tokenizer.clean_fn(text) for text in texts]
        return [len(ids) for ids in self.tokenizer.tokenizer(cleaned, verbose=False)["input_ids"]]

    def image_features(self, pictures: list[Any]) -> torch.Tensor:
        """(N, D) projected features of RGB Pillow images."""
        pixels = torch.stack([self.transform(picture) for picture in pictures])
        return self.model.encode_image(pixels.to(self.device, self.dtype))

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """(N, D) projected features of texts, cut at the context length."""
        return self.model.encode_text(self.tokenizer(texts).to(self.device))

    def describe_inputs(self) -> dict[str, Any]:
        """Image size, preprocessing, tokenizer and the version of open_clip."""
        preprocessing = dict(self.model.visual.preprocess_cfg)
        size = preprocessing["size"]
        inner = getattr(self.tokenizer, "tokenizer", self.tokenizer)
        return {
            "model_type": type(self.model).__name__,
            "package": f"open_clip_torch {metadata.version('open_clip_torch')}",
            "image_size": [size, size] if isinstance(size, int) else list(size),
            "preprocessing": {
                key: list(value) if isinstance(value, tuple) else value for key, value in preprocessing.items()
            },
            "tokenizer": {
                "class": type(inner).__name__,
                "vocab_size": len(inner) if hasattr(inner, "__len__") else inner.vocab_size,
                "padding": "context length",
            },
        }


def check_config(path: str, settings: dict[str, Any] | None) -> dict[str, Any]:
    """The `model_cfg` of an open_clip config, once it has both towers and asks for no code of others.

    Raises:
        ConfigurationError: It lacks a tower, or names a text tower that carries code.
    """
    model = (settings or {}).get("model_cfg")
    if not isinstance(model, dict):
        raise ConfigurationError(f"`model` {path} must have an {OPEN_CLIP_CONFIG} with `model_cfg`; there is none.")
    for key, tower in (("text_cfg", "a text tower"), ("vision_cfg", "an image tower")):
        if not isinstance(model.get(key), dict):
            raise ConfigurationError(f"`model` {path} must have {tower}: {OPEN_CLIP_CONFIG} has no `{key}`.")
    options = model["text_cfg"].get("tokenizer_kwargs") or {}
    if not isinstance(options, dict) or "trust_remote_code" in options:
        raise ConfigurationError(
            f"`model` {path}: `tokenizer_kwargs` must be settings without `trust_remote_code`, got {options!r}."
        )
    tower = model["text_cfg"].get("hf_model_name")
    if tower and "auto_map" in (read_json(str(tower), "config.json") or {}):
        raise ConfigurationError(f"`model` {path} must have a text tower that needs no code of its own, got {tower}.")
    return model


def _build(path: str, settings: dict[str, Any], device: torch.device, precision: str) -> tuple:
    import open_clip  # here, since only this family needs it
    from open_clip.transform import PreprocessCfg, image_transform_v2

    # The folder or, of a Hub id, the cached snapshot: there open_clip takes `open_clip_model.safetensors`, which is
    # present, before all other names, while on the Hub it would go on to pickled weights.
    folder = find_file(path, OPEN_CLIP_CONFIG).parent
    model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True, precision=precision, device=device)
    source = f"local-dir:{folder}" if Path(path).is_dir() else f"hf-hub:{path}"
    options = {"trust_remote_code": False} if settings["text_cfg"].get("hf_tokenizer_name") else {}
    tokenizer = open_clip.get_tokenizer(source, **options)
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    return model, tokenizer, transform


def _without_schema(path: str) -> str:
    for schema in _SCHEMAS:
        path = path.removeprefix(schema)
    return path
