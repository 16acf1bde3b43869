"""What a PhenoLIP config is in an open_clip_config.json; what open_clip does not have is refused."""

from typing import Any

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.hub.convert_config import HF_POOLINGS, OpenClipStyle, choice
from phenolip.hub.timm_vits import TimmViT

_HF_POOLERS = {pooling: pooler for pooler, pooling in HF_POOLINGS.items()}


def write_config(
    config: PhenoLIPConfig, context_length: int, hf_model_name: str | None
) -> tuple[dict[str, Any], OpenClipStyle]:
    """The open_clip `model_cfg` of a PhenoLIP config, and how its tensors will be named.

    Args:
        config: Config of the model.
        context_length: Tokens after which a text is cut.
        hf_model_name: Hub id under which open_clip finds the config of a BERT; weights are not read from there.

    Raises:
        ConfigurationError: open_clip has no such tower, pooling or projection.
    """
    vision, text = config.vision_config, config.text_config
    types = (vision.tower_config.model_type, text.tower_config.model_type)
    choice("vision_config.tower_config.model_type", types[0], ("vit", "clip_vision_model"))
    choice("text_config.tower_config.model_type", types[1], ("bert", "clip_text_model"))
    choice("vision_config.num_parts", vision.num_parts, (1,))
    settings: dict[str, Any] = {"embed_dim": config.projection_dim}
    own = [side.tower_config for side in (vision, text) if side.tower_config.model_type.startswith("clip_")]
    activations = {tower.hidden_act for tower in own}
    if not activations <= {"gelu"} and activations != {"quick_gelu"}:
        raise ConfigurationError(f"`hidden_act` must be gelu or quick_gelu in both towers, got {sorted(activations)}.")
    if activations == {"quick_gelu"}:
        settings["quick_gelu"] = True
    settings["vision_cfg"] = _timm_vision_cfg(vision) if types[0] == "vit" else _native_vision_cfg(vision)
    settings["text_cfg"] = _hf_text_cfg(text, hf_model_name) if types[1] == "bert" else _native_text_cfg(text)
    settings["text_cfg"] |= {"context_length": context_length, "hf_tokenizer_name": hf_model_name or "tokenizer"}
    return settings, OpenClipStyle(custom_text=types[1] == "bert")


def _timm_vision_cfg(side: Any) -> dict[str, Any]:
    tower = side.tower_config
    vit = TimmViT.of_tower(tower)
    pool = {"cls": "token", "mean": "avg"}[choice("vision_config.pooling", side.pooling, ("cls", "mean"))]
    proj = choice("vision_config.projection", side.projection, ("linear", "mlp", "none"))
    if proj == "mlp" and (side.projection_hidden_size != 2 * side.projection_dim or side.projection_bias is False):
        raise ConfigurationError(
            f"`vision_config.projection_hidden_size` must be {2 * side.projection_dim}, twice the embedding, with "
            f"biases, got {side.projection_hidden_size} and `projection_bias` {side.projection_bias}."
        )
    if proj == "none" and pool == "avg":
        raise ConfigurationError("`vision_config.projection` must be linear or mlp with `pooling` mean, got none.")
    bias = proj == "mlp" or bool(side.projection_bias)
    return {
        "timm_model_name": vit.name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "timm_proj_bias": bias,
        "image_size": vit.image_size,
    }


def _native_vision_cfg(side: Any) -> dict[str, Any]:
    tower = side.tower_config
    choice("vision_config.pooling", side.pooling, ("pooler",))
    choice("vision_config.projection", side.projection, ("linear",))
    choice("vision_config.projection_bias", bool(side.projection_bias), (False,))
    choice("vision_config.tower_config.layer_norm_eps", tower.layer_norm_eps, (1e-5,))
    return {
        "image_size": tower.image_size,
        "patch_size": tower.patch_size,
        "layers": tower.num_hidden_layers,
        "width": tower.hidden_size,
        "head_width": tower.hidden_size // tower.num_attention_heads,
        "mlp_ratio": tower.intermediate_size / tower.hidden_size,
    }


def _native_text_cfg(side: Any) -> dict[str, Any]:
    tower = side.tower_config
    choice("text_config.pooling", side.pooling, ("pooler", "eos"))
    choice("text_config.projection", side.projection, ("linear",))
    choice("text_config.tower_config.layer_norm_eps", tower.layer_norm_eps, (1e-5,))
    return {
        "vocab_size": tower.vocab_size,
        "width": tower.hidden_size,
        "heads": tower.num_attention_heads,
        "layers": tower.num_hidden_layers,
        "mlp_ratio": tower.intermediate_size / tower.hidden_size,
        "pool_type": "eos",
        "eos_id": tower.eos_token_id,
        "proj_bias": bool(side.projection_bias),
    }


def _hf_text_cfg(side: Any, hf_model_name: str | None) -> dict[str, Any]:
    if not hf_model_name:
        raise ConfigurationError(
            "`--text_tower` must name the Hub id or folder where open_clip finds the config of the BERT, such as "
            "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract; there is none."
        )
    choice("text_config.pooling", side.pooling, tuple(_HF_POOLERS))
    choice("text_config.projection", side.projection, ("linear", "mlp", "none"))
    width = (side.pooled_size + side.projection_dim) // 2
    if side.projection == "mlp" and (side.projection_bias is not False or side.projection_hidden_size != width):
        raise ConfigurationError(
            f"`text_config.projection_hidden_size` must be {width} without biases, as open_clip's mlp is, got "
            f"{side.projection_hidden_size} and `projection_bias` {side.projection_bias}."
        )
    if side.projection == "linear" and side.projection_bias:
        raise ConfigurationError("`text_config.projection_bias` must be false for a BERT in open_clip, got True.")
    return {
        "hf_model_name": hf_model_name,
        "hf_model_pretrained": False,
        "hf_proj_type": None if side.projection == "none" else side.projection,
        "hf_pooler_type": _HF_POOLERS[side.pooling],
    }
