"""From the spelling on the command line, `[FAMILY:]DIR|ID`, to an encoder."""

import logging
from pathlib import Path
from typing import Any

import torch

from phenolip.configuration_phenolip import TEXT_POOLINGS, VISION_POOLINGS
from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.inference.adapters.align import AlignEncoder
from phenolip.inference.adapters.altclip import AltClipEncoder
from phenolip.inference.adapters.base import DualEncoder
from phenolip.inference.adapters.chinese_clip import ChineseClipEncoder
from phenolip.inference.adapters.clip import ClipEncoder
from phenolip.inference.adapters.files import read_json
from phenolip.inference.adapters.metaclip_2 import MetaClip2Encoder
from phenolip.inference.adapters.open_clip import OPEN_CLIP_CONFIG, OpenClipEncoder
from phenolip.inference.adapters.siglip import SiglipEncoder
from phenolip.inference.adapters.siglip2 import Siglip2Encoder
from phenolip.inference.adapters.transformers_encoder import TransformersEncoder
from phenolip.inference.encoder import Encoder

logger = logging.getLogger(__name__)

OURS, TEXT = "phenolip", "text"
TRANSFORMERS: tuple[type[TransformersEncoder], ...] = (
    ClipEncoder,
    SiglipEncoder,
    Siglip2Encoder,
    ChineseClipEncoder,
    AltClipEncoder,
    AlignEncoder,
    MetaClip2Encoder,
)
ADAPTERS: dict[str, type[DualEncoder]] = {adapter.family: adapter for adapter in (*TRANSFORMERS, OpenClipEncoder)}
FAMILIES = (OURS, TEXT, *ADAPTERS)
_MODEL_TYPES = {  # `model_type` of a config.json -> family
    "phenolip": OURS,
    **dict.fromkeys(("phenolip_text_model", *TEXT_POOLINGS), TEXT),
    **{model_type: adapter.family for adapter in TRANSFORMERS for model_type in adapter.model_types},
}
_ALSO = {"siglip": ("siglip2",)}  # SigLIP 2 comes under either type: one word on the command line covers both


def load_model(
    model: str | Path, device: str | torch.device | None = None, *, dtype: torch.dtype = torch.float32
) -> Encoder | DualEncoder:
    """The encoder of a model of any family.

    Args:
        model: Folder or Hub id, with a family and a colon before it or without: then its config decides.
        device: By default the first GPU, else the CPU.
        dtype: Precision of the weights.

    Raises:
        ConfigurationError: The family is unknown, the model is of another one, or it cannot be loaded.
    """
    family, path = split_family(model)
    if family != OpenClipEncoder.family:  # whose folders may hold the config of another family beside its own
        found = find_family(path)
        if family not in (None, found) and found not in _ALSO.get(family, ()):
            raise ConfigurationError(
                f"`model` {path} must be of the family {family}, as its prefix says, got one of {found}."
            )
        family = found
    return ADAPTERS.get(family, Encoder).from_pretrained(path, device, dtype=dtype)


def split_family(model: str | Path) -> tuple[str | None, str]:
    """Family, or None where it is left open, and folder or Hub id of a spelling `[FAMILY:]DIR|ID`.

    A folder of exactly that name comes first.

    Raises:
        ConfigurationError: The family is unknown, or nothing follows it.

    Example:
        >>> split_family("open_clip:org/name"), split_family("org/name")
        (('open_clip', 'org/name'), (None, 'org/name'))
    """
    text = str(model)
    family, colon, path = text.partition(":")
    if isinstance(model, Path) or not colon or Path(text).exists():
        return None, text
    if family not in FAMILIES:
        raise ConfigurationError(f"Unknown model family {family!r} in `model` {text}.{near_matches(family, FAMILIES)}")
    if not path:
        raise ConfigurationError(f"`model` must name a folder or a Hub id after '{family}:', got nothing.")
    return family, path


def find_family(path: str | Path) -> str:
    """The family of a folder or Hub repository by its config.json, else by its open_clip_config.json.

    Raises:
        ConfigurationError: There is no config, or it is of no family that can be used here.
    """
    model_type = str((read_json(path, "config.json") or {}).get("model_type") or "")
    if model_type in _MODEL_TYPES:
        return _MODEL_TYPES[model_type]
    if read_json(path, OPEN_CLIP_CONFIG) is not None:
        return OpenClipEncoder.family
    if not model_type:
        found = "the folder has none" if Path(path).is_dir() else "no folder, cache or reachable Hub has that"
        raise ConfigurationError(
            f"`model` {path} must be a folder with weights and a config.json that states `model_type` or an "
            f"{OPEN_CLIP_CONFIG}, or a Hub id; {found}."
        )
    if model_type in VISION_POOLINGS or model_type.endswith("_vision_model"):
        raise ConfigurationError(
            f"`model` {path} must have a text tower, got the model type {model_type!r}, which is an image tower alone."
        )
    raise ConfigurationError(
        f"`model` {path} is of the unknown model type {model_type!r}.{near_matches(model_type, _MODEL_TYPES)}"
    )


def describe_model(encoder: Any) -> dict[str, Any] | None:
    """What an encoder says of itself for results.json, once it has encoded; None where it says nothing.

    Warns where texts were cut, since a caption that is cut is another caption.
    """
    if not hasattr(encoder, "describe"):
        return None
    description = encoder.describe()
    if description.get("num_texts_truncated"):
        logger.warning(
            "%d of %d texts are longer than the %d tokens that %s reads, and were cut.",
            description["num_texts_truncated"],
            description["num_texts"],
            description["context_length"],
            encoder.name,
        )
    return description
