"""Names of open_clip's tensors and ours, as one list of moves that is read in both directions.

The towers hold the same numbers under other names. Three things differ beyond names: transformers keeps query, key
and value apart where open_clip and timm stack them; open_clip's own projections are stored transposed; a projection
may lie inside timm's trunk.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.hub.convert_config import OpenClipStyle

Tensors = dict[str, torch.Tensor]
_WEIGHT_BIAS = ("weight", "bias")
# Constants that old checkpoints carry: transformers numbered positions in a buffer, open_clip kept its causal mask.
_POSITION_IDS = "text.transformer.embeddings.position_ids"
_MASKS = ("attn_mask", "text.attn_mask")


class Move(NamedTuple):
    """One tensor of open_clip and what it is of ours: one tensor, or query, key and value."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False


def to_ours(weights: Tensors, moves: list[Move]) -> Tensors:
    """Our tensors, float32, from those of open_clip.

    Raises:
        ConfigurationError: A tensor is missing or left over.
    """
    weights = _without_constants(weights)
    _check_names(set(weights), {move.theirs for move in moves}, "The checkpoint")
    ours: Tensors = {}
    for move in moves:
        value = weights[move.theirs].float()
        parts = value.chunk(3) if len(move.ours) == 3 else (value.T if move.transposed else value,)
        ours |= {name: part.contiguous().clone() for name, part in zip(move.ours, parts, strict=True)}
    return ours


def to_theirs(weights: Tensors, moves: list[Move]) -> Tensors:
    """The tensors of open_clip from ours.

    Raises:
        ConfigurationError: A tensor is missing or left over.
    """
    _check_names(set(weights), {name for move in moves for name in move.ours}, "The PhenoLIP model")
    theirs = {}
    for move in moves:
        value = torch.cat([weights[name] for name in move.ours]) if len(move.ours) == 3 else weights[move.ours[0]]
        theirs[move.theirs] = (value.T if move.transposed else value).contiguous().clone()
    return theirs


def list_moves(config: PhenoLIPConfig, style: OpenClipStyle) -> list[Move]:
    """Every tensor of a model of this config: where it lies in open_clip, and where in ours."""
    moves = [Move("logit_scale", ("logit_scale",))]
    is_timm = config.vision_config.tower_config.model_type == "vit"
    moves += _timm_vision(config, style.trunk_head) if is_timm else _native_vision(config)
    is_hf = config.text_config.tower_config.model_type == "bert"
    return moves + list(_hf_text(config) if is_hf else _native_text(config, "text." if style.custom_text else ""))


def bert_names(config: PhenoLIPConfig) -> Iterator[str]:
    """Tensors of a BERT tower, the pooler only where it is read."""
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        yield f"embeddings.{name}.weight"
    modules = ["embeddings.LayerNorm"]
    for layer in range(config.text_config.tower_config.num_hidden_layers):
        inner = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        inner += ("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")
        modules += [f"encoder.layer.{layer}.{name}" for name in inner]
    if config.text_config.pooling == "pooler":
        modules.append("pooler.dense")
    yield from (f"{module}.{kind}" for module in modules for kind in _WEIGHT_BIAS)


def _same(pairs: dict[str, str], kinds: tuple[str, ...] = _WEIGHT_BIAS) -> Iterator[Move]:
    for theirs, ours in pairs.items():
        for kind in kinds:
            yield Move(f"{theirs}.{kind}", (f"{ours}.{kind}",))


def _qkv(theirs: str, ours: str, joint: str) -> Iterator[Move]:
    for kind in _WEIGHT_BIAS:
        yield Move(f"{theirs}{joint}{kind}", tuple(f"{ours}.{part}_proj.{kind}" for part in "qkv"))


def _timm_vision(config: PhenoLIPConfig, trunk_head: bool) -> Iterator[Move]:
    theirs, ours = "visual.trunk", "vision_model.tower"
    yield Move(f"{theirs}.cls_token", (f"{ours}.embeddings.cls_token",))
    yield Move(f"{theirs}.pos_embed", (f"{ours}.embeddings.position_embeddings",))
    pairs = {
        f"{theirs}.patch_embed.proj": f"{ours}.embeddings.patch_embeddings.projection",
        f"{theirs}.norm": f"{ours}.layernorm",
    }
    names = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for layer in range(config.vision_config.tower_config.num_hidden_layers):
        block, target = f"{theirs}.blocks.{layer}", f"{ours}.layers.{layer}"
        pairs |= {f"{block}.{name}": f"{target}.{other}" for name, other in names.items()}
        yield from _qkv(f"{block}.attn.qkv", f"{target}.attention", ".")
    yield from _same(pairs)
    side, head = config.vision_config, "visual.trunk.head" if trunk_head else "visual.head.proj"
    if side.projection == "mlp":
        layers = {
            f"visual.head.mlp.fc{number + 1}": f"vision_model.projection.layers.{2 * number}" for number in (0, 1)
        }
        yield from _same(layers)
    elif side.projection == "linear":
        yield from _same(
            {head: "vision_model.projection.layers"}, _WEIGHT_BIAS if side.projection_bias else ("weight",)
        )


def _native_vision(config: PhenoLIPConfig) -> Iterator[Move]:
    ours = "vision_model.tower"
    yield Move("visual.class_embedding", (f"{ours}.embeddings.class_embedding",))
    yield Move("visual.positional_embedding", (f"{ours}.embeddings.position_embedding.weight",))
    yield Move("visual.conv1.weight", (f"{ours}.embeddings.patch_embedding.weight",))
    yield Move("visual.proj", ("vision_model.projection.layers.weight",), transposed=True)
    yield from _same({"visual.ln_pre": f"{ours}.pre_layrnorm", "visual.ln_post": f"{ours}.post_layernorm"})
    yield from _native_blocks("visual.", ours, config.vision_config.tower_config.num_hidden_layers)


def _native_text(config: PhenoLIPConfig, prefix: str) -> Iterator[Move]:
    side, ours = config.text_config, "text_model.tower"
    yield Move(f"{prefix}token_embedding.weight", (f"{ours}.embeddings.token_embedding.weight",))
    yield Move(f"{prefix}positional_embedding", (f"{ours}.embeddings.position_embedding.weight",))
    if side.projection == "linear" and side.projection_bias:
        yield from _same({f"{prefix}text_projection": "text_model.projection.layers"})
    elif side.projection == "linear":
        yield Move(f"{prefix}text_projection", ("text_model.projection.layers.weight",), transposed=True)
    yield from _same({f"{prefix}ln_final": f"{ours}.final_layer_norm"})
    yield from _native_blocks(prefix, ours, side.tower_config.num_hidden_layers)


def _native_blocks(prefix: str, ours: str, num_layers: int) -> Iterator[Move]:
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    names |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for layer in range(num_layers):
        block, target = f"{prefix}transformer.resblocks.{layer}", f"{ours}.encoder.layers.{layer}"
        yield from _same({f"{block}.{name}": f"{target}.{other}" for name, other in names.items()})
        yield from _qkv(f"{block}.attn.in_proj", f"{target}.self_attn", "_")


def _hf_text(config: PhenoLIPConfig) -> Iterator[Move]:
    side = config.text_config
    for name in bert_names(config):
        yield Move(f"text.transformer.{name}", (f"text_model.tower.{name}",))
    if side.projection == "mlp":
        for number in (0, 2):
            yield from _same({f"text.proj.{number}": f"text_model.projection.layers.{number}"}, ("weight",))
    elif side.projection == "linear":
        yield from _same({"text.proj": "text_model.projection.layers"}, ("weight",))


def _without_constants(weights: Tensors) -> Tensors:
    """Leaves out buffers that old checkpoints carry, once they hold what they must."""
    weights = dict(weights)
    ids = weights.pop(_POSITION_IDS, None)
    if ids is not None and not torch.equal(ids.flatten(), torch.arange(ids.numel()).to(ids.dtype)):
        raise ConfigurationError(
            f"The checkpoint's {_POSITION_IDS} must count from 0, got {ids.flatten()[:4].tolist()}."
        )
    for name in _MASKS:
        mask = weights.pop(name, None)
        if mask is not None and not torch.equal(mask.isinf(), torch.ones_like(mask).triu(1).bool()):
            raise ConfigurationError(
                f"The checkpoint's {name} must be causal: minus infinity above the diagonal alone."
            )
    scale = weights.get("logit_scale")
    if scale is not None and scale.numel() == 1:
        weights["logit_scale"] = scale.reshape(())
    return weights


def _check_names(found: set[str], wanted: set[str], whose: str) -> None:
    for names, verb in ((wanted - found, "lacks"), (found - wanted, "has, and its config has no place for,")):
        if names:
            some = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise ConfigurationError(f"{whose} {verb} {len(names)} tensors: {some}.")
