"""What an open_clip_config.json means in PhenoLIP's words; what cannot be said in them is refused."""

from dataclasses import dataclass
from typing import Any

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.hub.timm_vits import timm_vit

HEAD_WIDTH = 64  # of every ViT that open_clip sizes by itself
MLP_RATIO = 4.0
# Settings that only training reads, or that only say where weights and words once came from.
_FREE_MODEL = {
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "nonscalar_logit_scale"),
}
_FREE_VISION = {
    *("image_size", "patch_dropout", "output_tokens", "timm_drop", "timm_drop_path", "timm_model_pretrained"),
    *("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias", "layers", "width", "head_width", "mlp_ratio"),
    *("patch_size", "pool_type", "pos_embed_type", "attn_pooler_queries", "attn_pooler_heads"),
}
_FREE_TEXT = {
    *("context_length", "vocab_size", "hf_tokenizer_name", "tokenizer_kwargs", "output_tokens", "pad_id", "eos_id"),
    *("width", "heads", "layers", "mlp_ratio", "hf_model_name", "hf_model_pretrained", "hf_proj_type"),
    *("hf_pooler_type", "pool_type", "proj_type", "proj_bias"),
}
HF_POOLINGS = {"mean_pooler": "mean", "cls_pooler": "pooler", "cls_last_hidden_state_pooler": "cls"}


@dataclass(frozen=True)
class OpenClipStyle:
    """How open_clip names the tensors of one model, beyond what the PhenoLIP config says.

    Attributes:
        custom_text: Whether the text tower is a module of its own, `text.`, or lies at the root as in the first CLIP.
        trunk_head: Whether timm's own classifier is the projection of images.
    """

    custom_text: bool
    trunk_head: bool = False


def read_config(
    model: dict[str, Any], text_tower: dict[str, Any] | None, eos_token_id: int, highest_token_id: int
) -> tuple[PhenoLIPConfig, OpenClipStyle]:
    """The PhenoLIP config of an open_clip `model_cfg`, and how its tensors are named.

    Args:
        model: `model_cfg` of the config.
        text_tower: Config of the Hugging Face text tower; None where the tower is open_clip's own.
        eos_token_id: End of a text in the tokenizer, at which open_clip's own tower pools.
        highest_token_id: Highest that the tokenizer gives: open_clip's first rule pools there.

    Raises:
        ConfigurationError: A setting is unknown, or asks for a layer that PhenoLIP does not have.
    """
    _only_free("model_cfg", model, _FREE_MODEL)
    vision, text = model["vision_cfg"], model["text_cfg"]
    width, activation = model["embed_dim"], "quick_gelu" if model.get("quick_gelu") else "gelu"
    if "timm_model_name" in vision and vision["timm_model_name"]:
        vision_config = _timm_vision(vision, width)
    else:
        vision_config = _native_vision(vision, activation)
    if text_tower is None:
        text_config = _native_text(text, activation, eos_token_id, highest_token_id)
    else:
        text_config = _hf_text(text, text_tower, width)
    config = PhenoLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=width)
    style = OpenClipStyle(
        custom_text=bool(model.get("custom_text")) or "hf_model_name" in text,
        trunk_head=bool(vision.get("timm_model_name")) and not vision.get("timm_proj", "linear"),
    )
    return config, style


def _only_free(name: str, settings: dict[str, Any], free: set[str]) -> None:
    """Every setting that changes the layers must be one that is read here; one that is off changes nothing."""
    for key, value in settings.items():
        if key not in free and value not in (None, False, {}):
            raise ConfigurationError(
                f"`{name}.{key}` must be left out, for PhenoLIP has no such layer, got {value!r}."
            )


def choice(name: str, value: Any, allowed: tuple) -> Any:
    """The value, once it is one of those that are allowed."""
    if value not in allowed:
        raise ConfigurationError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return value


def _timm_vision(vision: dict[str, Any], width: int) -> dict[str, Any]:
    _only_free("vision_cfg", vision, _FREE_VISION)
    vit = timm_vit(vision["timm_model_name"])
    size = vision.get("image_size", 224)
    if size not in (vit.image_size, [vit.image_size] * 2):
        raise ConfigurationError(
            f"`vision_cfg.image_size` must be {vit.image_size}, that of {vision['timm_model_name']}, got {size}."
        )
    tower = {**vit.tower_settings(), "model_type": "vit"}
    proj = choice("vision_cfg.timm_proj", vision.get("timm_proj", "linear"), ("linear", "mlp", "none", "", None))
    pool = choice("vision_cfg.timm_pool", vision.get("timm_pool", "avg"), ("", "token", "avg"))
    if proj in ("none", "", None) and pool != "token":  # timm then norms after the mean, or does not pool at all
        raise ConfigurationError(
            f"`vision_cfg.timm_pool` must be 'token' where `timm_proj` is {proj!r}, got {pool!r}."
        )
    side = {"tower_config": tower, "pooling": "mean" if pool == "avg" else "cls"}
    bias = bool(vision.get("timm_proj_bias"))
    if proj == "none":
        return {**side, "projection": "none"}
    if proj == "mlp":  # timm's first layer always has a bias: a second one that is missing becomes zeros
        return {**side, "projection": "mlp", "projection_bias": True, "projection_hidden_size": 2 * width}
    return {**side, "projection": "linear", "projection_bias": True if not proj else bias}


def _native_vision(vision: dict[str, Any], activation: str) -> dict[str, Any]:
    _only_free("vision_cfg", vision, _FREE_VISION)
    choice("vision_cfg.pool_type", vision.get("pool_type", "tok"), ("tok",))
    layers = vision.get("layers", 12)
    if not isinstance(layers, int):
        raise ConfigurationError(f"`vision_cfg.layers` must be one number, for only ViTs are converted, got {layers}.")
    width = vision.get("width", 768)
    tower = {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // vision.get("head_width", HEAD_WIDTH),
        "intermediate_size": int(width * vision.get("mlp_ratio", MLP_RATIO)),
        "image_size": _square("vision_cfg.image_size", vision.get("image_size", 224)),
        "patch_size": _square("vision_cfg.patch_size", vision.get("patch_size", 16)),
        "hidden_act": activation,
        "layer_norm_eps": 1e-5,
    }
    return {"tower_config": tower, "pooling": "pooler", "projection": "linear"}


def _square(name: str, size: Any) -> int:
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    if len(sides) != 1:
        raise ConfigurationError(f"`{name}` must be square, got {size}.")
    return sides.pop()


def _native_text(text: dict[str, Any], activation: str, eos_token_id: int, highest_token_id: int) -> dict[str, Any]:
    _only_free("text_cfg", text, _FREE_TEXT)
    pool = choice("text_cfg.pool_type", text.get("pool_type", "argmax"), ("argmax", "eos"))
    expected = text.get("eos_id", 2) if pool == "eos" else highest_token_id
    if eos_token_id != expected:
        raise ConfigurationError(
            f"The tokenizer must end a text with token {expected}, at which `text_cfg.pool_type` '{pool}' pools, got "
            f"{eos_token_id}."
        )
    proj = choice("text_cfg.proj_type", text.get("proj_type", "linear"), ("linear", "none"))
    width = text.get("width", 512)
    tower = {
        "model_type": "clip_text_model",
        "hidden_size": width,
        "num_hidden_layers": text.get("layers", 12),
        "num_attention_heads": text.get("heads", 8),
        "intermediate_size": int(width * text.get("mlp_ratio", MLP_RATIO)),
        "vocab_size": text.get("vocab_size", 49408),
        "max_position_embeddings": text.get("context_length", 77),
        "hidden_act": activation,
        "layer_norm_eps": 1e-5,
        "eos_token_id": eos_token_id,
        "bos_token_id": None,
        "pad_token_id": None,
    }
    # With end token 2, transformers pools at the highest token instead: then the last token that is none of padding.
    side = {"tower_config": tower, "pooling": "eos" if eos_token_id == 2 else "pooler", "projection": proj}
    return side | ({"projection_bias": True} if proj == "linear" and text.get("proj_bias") else {})


def _hf_text(text: dict[str, Any], tower: dict[str, Any], width: int) -> dict[str, Any]:
    _only_free("text_cfg", text, _FREE_TEXT)
    pooler = text.get("hf_pooler_type", "mean_pooler") or "cls_pooler"  # open_clip's default of a BERT
    pooling = HF_POOLINGS[choice("text_cfg.hf_pooler_type", pooler, tuple(HF_POOLINGS))]
    proj = choice("text_cfg.hf_proj_type", text.get("hf_proj_type", "mlp"), ("linear", "mlp", None))
    side = {"tower_config": tower, "pooling": pooling, "projection": proj or "none"}
    if proj == "mlp":
        side |= {"projection_bias": False, "projection_hidden_size": (tower["hidden_size"] + width) // 2}
    return side
