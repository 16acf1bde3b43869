"""PhenoLIP: an image tower and a text tower that project into one space."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipTextModel,
)
from transformers import initialization as init
from transformers.masking_utils import eager_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .configuration_phenolip import PhenoLIPConfig, PhenoLIPTextConfig, PhenoLIPVisionConfig
from .modeling_efficientnet_lite import EfficientNetLiteModel

# Towers that AutoModel does not know; all others come from there.
TOWER_CLASSES = {"efficientnet_lite": EfficientNetLiteModel, "siglip_text_model": SiglipTextModel}
# Where a tower keeps the layers that only its own pooler reads.
POOLERS = {
    "bert": "pooler",
    "roberta": "pooler",
    "siglip_text_model": "head",
    "vit": "pooler",
    "clip_vision_model": "post_layernorm",
    "siglip_vision_model": "head",
    "convnext": "layernorm",
}
# Attention of texts that lie end to end, without padding: `model.text_model.tower.set_attn_implementation(UNPADDED)`.
UNPADDED = "unpadded"
_UNPADDED_TOWERS = ("bert", "roberta")
_NUM_PREFIX_TOKENS = {"vit": 1, "clip_vision_model": 1, "dinov2": 1}
_FIXED_SIZE_TOWERS = ("vit", "clip_vision_model", "siglip_vision_model")


@dataclass
class PhenoLIPTextModelOutput(ModelOutput):
    r"""
    Args:
        text_embeds (`torch.FloatTensor` of shape `(num_texts, projection_dim)`):
            Projected features, float32, of unit norm.
        last_hidden_state (`torch.FloatTensor` of shape `(num_texts, sequence_length, hidden_size)`, *optional*):
            Tokens of the tower; left out when texts are encoded in chunks.
        pooler_output (`torch.FloatTensor` of shape `(num_texts, pooled_size)`):
            Pooled features, before the projection.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*):
            Tokens after the embeddings and after each layer, `(num_texts, sequence_length, hidden_size)` each.
        attentions (`tuple(torch.FloatTensor)`, *optional*):
            Attention of each layer, `(num_texts, num_heads, sequence_length, sequence_length)` each.
    """

    text_embeds: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class PhenoLIPVisionModelOutput(ModelOutput):
    r"""
    Args:
        image_embeds (`torch.FloatTensor` of shape `(num_images, projection_dim)`):
            Projected features, float32, of unit norm.
        last_hidden_state (`torch.FloatTensor`):
            Features of the tower: tokens, `(num_images, sequence_length, hidden_size)`, or for a convolutional tower a
            map, `(num_images, hidden_size, height, width)`.
        pooler_output (`torch.FloatTensor` of shape `(num_images, pooled_size)`):
            Pooled features, before the projection.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*):
            Features after each layer, shaped as the tower gives them.
        attentions (`tuple(torch.FloatTensor)`, *optional*):
            Attention of each layer, `(num_images, num_heads, sequence_length, sequence_length)` each.
    """

    image_embeds: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class PhenoLIPOutput(ModelOutput):
    r"""
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*, returned when `return_loss` is `True`):
            Symmetric contrastive loss in nats.
        logits_per_image (`torch.FloatTensor` of shape `(num_images, num_texts)`):
            Cosine similarity times the inverse temperature.
        logits_per_text (`torch.FloatTensor` of shape `(num_texts, num_images)`):
            The same, transposed.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, projection_dim)`):
            Embeddings of the texts, float32, of unit norm.
        image_embeds (`torch.FloatTensor` of shape `(num_images, projection_dim)`):
            Embeddings of the images, float32, of unit norm.
        text_model_output (`PhenoLIPTextModelOutput`):
            Output of the text side.
        vision_model_output (`PhenoLIPVisionModelOutput`):
            Output of the image side.
    """

    loss: torch.FloatTensor | None = None
    logits_per_image: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    image_embeds: torch.FloatTensor | None = None
    text_model_output: PhenoLIPTextModelOutput | None = None
    vision_model_output: PhenoLIPVisionModelOutput | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, the outputs of the two sides as tuples too."""
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class ResidualProjection(nn.Module):
    """Linear projection plus a correction by two layers, GELU between, that begins as zero.

    On a frozen tower it learns what a linear map cannot, and starts as that map.
    """

    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        self.linear = nn.Linear(in_size, out_size, bias=False)
        self.norm = nn.LayerNorm(in_size)
        self.expand = nn.Linear(in_size, 2 * in_size)
        self.correction = nn.Linear(2 * in_size, out_size)
        self.correction.starts_as_zero = True

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(N, in_size) -> (N, out_size)."""
        return self.linear(pooled) + self.correction(F.gelu(self.expand(self.norm(pooled))))


class PhenoLIPProjection(nn.Module):
    """From pooled features to the shared space: (N, pooled_size) -> (N, projection_dim), not yet of unit norm.

    With several parts, each is projected by itself, on the image side from the features of its own tower. They are
    made equally long, so that the cosine of two embeddings is the mean of the cosines of their parts.
    """

    def __init__(self, config: PhenoLIPTextConfig | PhenoLIPVisionConfig):
        super().__init__()
        self.num_parts, self.num_towers = config.num_parts, config.num_towers
        self.dropout = nn.Dropout(config.projection_dropout)
        parts = [_projection_layers(config) for _ in range(config.num_parts)]
        self.layers = nn.ModuleList(parts) if len(parts) > 1 else parts[0]

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(N, pooled_size) -> (N, projection_dim)."""
        weight = next(self.layers.parameters(), None)
        pooled = self.dropout(pooled if weight is None else pooled.to(weight.dtype))
        if self.num_parts == 1:
            return self.layers(pooled)
        of_parts = pooled.chunk(self.num_parts, dim=-1) if self.num_towers > 1 else [pooled] * self.num_parts
        return torch.cat(
            [_unit_norm(part(features)) for part, features in zip(self.layers, of_parts, strict=True)], dim=-1
        )


def _projection_layers(config: PhenoLIPTextConfig | PhenoLIPVisionConfig) -> nn.Module:
    """Of one part."""
    in_size, out_size = config.part_size, config.projection_dim // config.num_parts
    begins_as_identity = config.projection_init == "identity"
    if config.projection == "none":
        return nn.Identity()
    if config.projection == "linear":
        layer = nn.Linear(in_size, out_size, bias=bool(config.projection_bias))
        layer.starts_as_identity = begins_as_identity
        return layer
    if config.projection == "residual":
        layer = ResidualProjection(in_size, out_size)
        layer.linear.starts_as_identity = begins_as_identity
        return layer
    width, bias = config.projection_hidden_size or in_size, config.projection_bias is not False
    return nn.Sequential(nn.Linear(in_size, width, bias=bias), nn.GELU(), nn.Linear(width, out_size, bias=bias))


class TowerGroup(nn.Module):
    """Towers of one kind that read the same images, one for each part of the embedding; features lie side by side."""

    def __init__(self, towers: list[PreTrainedModel]):
        super().__init__()
        self.towers = nn.ModuleList(towers)

    @property
    def config(self) -> PreTrainedConfig:
        """What the towers share."""
        return self.towers[0].config

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.towers[0].dtype

    def forward(self, pixel_values: torch.FloatTensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Images as a tower takes them -> features as it gives them, `num_towers` times as wide; no attentions."""
        outputs = [tower(pixel_values=pixel_values, **kwargs) for tower in self.towers]
        layers = [output.get("hidden_states") for output in outputs]
        return BaseModelOutputWithPooling(
            last_hidden_state=_side_by_side([output.last_hidden_state for output in outputs]),
            pooler_output=_side_by_side([output.get("pooler_output") for output in outputs]),
            hidden_states=None if layers[0] is None else tuple(map(_side_by_side, zip(*layers, strict=True))),
        )


def _side_by_side(features: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Along their channels: maps (N, C, H, W), tokens (N, L, C) or vectors (N, C)."""
    if features[0] is None:
        return None
    return torch.cat(tuple(features), dim=1 if features[0].ndim == 4 else -1)


class PhenoLIPPreTrainedModel(PreTrainedModel):
    """What the three models share: how weights begin, and a saved folder that works alone."""

    config: PreTrainedConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _auto_class = "AutoModel"  # `save_pretrained` then copies this file and the files that it imports
    _auto_map: ClassVar[dict[str, str]] = {}

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):  # of a projection: towers begin their own
            if getattr(module, "starts_as_identity", False):
                init.eye_(module.weight)
            elif getattr(module, "starts_as_zero", False):
                init.zeros_(module.weight)
            else:
                init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif hasattr(module, "logit_scale"):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves weights, config and code: `trust_remote_code=True` then loads the folder without this package."""
        self.config.auto_map = dict(self._auto_map)
        super().save_pretrained(save_directory, **kwargs)


class PhenoLIPTextModel(PhenoLIPPreTrainedModel):
    r"""
    Text tower with pooling and projection; trained on an ontology (Stage 1) it is the knowledge encoder.

    Example:

    ```python
    >>> model = PhenoLIPTextModel.from_pretrained("runs/quickstart/stage1")
    >>> model(**tokenizer(["Arachnodactyly"], return_tensors="pt")).text_embeds.shape
    torch.Size([1, 384])
    ```"""

    config: PhenoLIPTextConfig
    config_class = PhenoLIPTextConfig
    base_model_prefix = "text_model"
    main_input_name = "input_ids"
    input_modalities = ("text",)
    _keys_to_ignore_on_load_unexpected = [r"^vision_model\.", r"^logit_scale$"]  # loads a whole PhenoLIPModel too
    _auto_map = {
        "AutoConfig": "configuration_phenolip.PhenoLIPTextConfig",
        "AutoModel": "modeling_phenolip.PhenoLIPTextModel",
    }

    # Chunks are as wide as the next multiple of this: 8 keeps tensor cores busy, and a compiler's shapes few.
    width_multiple = 1

    def __init__(self, config: PhenoLIPTextConfig):
        super().__init__(config)
        self.tower = _build_trainable_tower(config)
        self.projection = PhenoLIPProjection(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Token embeddings of the tower."""
        return self.tower.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Sets the token embeddings of the tower."""
        self.tower.set_input_embeddings(value)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features, `(num_texts, pooled_size)` -> embeddings, `(num_texts, projection_dim)`."""
        return _unit_norm(self.projection(pooled))

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> PhenoLIPTextModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(num_texts, sequence_length)`):
                Tokens.
            attention_mask (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                1 for a token, 0 for padding; by default nothing is padding.
            token_type_ids (`torch.LongTensor`, *optional*):
                Accepted because some tokenizers give it, and not read: a text is one segment.
            chunk_size (`int`, *optional*):
                Encode texts in chunks of this many, sorted by length and each cut to its longest. The result and its
                gradients are the same, the padding is not computed. Padding must be on the right. Where the attention
                implementation is `unpadded` (a BERT or RoBERTa tower), the texts of a chunk lie end to end, and no
                padding is left at all.
            kwargs:
                Passed on to the tower, for example `output_hidden_states`; not with `chunk_size`.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if chunk_size is not None:
            pooled = self._pool_in_chunks(input_ids, attention_mask, chunk_size)
            return PhenoLIPTextModelOutput(text_embeds=self.project(pooled), pooler_output=pooled)
        output = self.tower(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        pooled = self._pool(output, attention_mask)
        return PhenoLIPTextModelOutput(
            text_embeds=self.project(pooled),
            last_hidden_state=output.last_hidden_state,
            pooler_output=pooled,
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
        )

    def _pool(self, output: BaseModelOutputWithPooling, attention_mask: torch.Tensor) -> torch.Tensor:
        pooling, tokens = self.config.pooling, output.last_hidden_state  # (N, L, C)
        if pooling == "pooler":
            return output.pooler_output
        if pooling == "cls":
            first = attention_mask.long().argmax(dim=1)  # not 0 where the padding is on the left
            return tokens[torch.arange(tokens.shape[0], device=tokens.device), first]
        if pooling == "eos":
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            last = (attention_mask * positions).argmax(dim=1)
            return tokens[torch.arange(tokens.shape[0], device=tokens.device), last]
        is_token = attention_mask.bool().unsqueeze(-1)  # (N, L, 1)
        if pooling == "max":
            return tokens.masked_fill(~is_token, torch.finfo(tokens.dtype).min).amax(dim=1)
        total = (tokens.float() * is_token).sum(dim=1)
        return (total / is_token.sum(dim=1).clamp(min=1)).to(tokens.dtype)

    def _pool_in_chunks(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, chunk_size: int) -> torch.Tensor:
        if chunk_size < 1:
            raise ValueError(f"`chunk_size` must be at least 1, got {chunk_size}.")
        lengths = _text_lengths(attention_mask)
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        tower_type = self.config.tower_config.model_type
        is_unpadded = self.tower.config._attn_implementation == UNPADDED and tower_type in _UNPADDED_TOWERS
        # The SigLIP text pooler reads the last position, padding or not: its texts keep their width.
        reads_padding = tower_type == "siglip_text_model" and self.config.pooling == "pooler"
        rows_in_order = torch.tensor(order, device=input_ids.device)
        pooled = []
        for start in range(0, len(order), chunk_size):
            chunk_lengths = [lengths[row] for row in order[start : start + chunk_size]]
            rows = rows_in_order[start : start + chunk_size]
            width = -(-chunk_lengths[-1] // self.width_multiple) * self.width_multiple
            width = input_ids.shape[1] if reads_padding else width  # slices end at the batch's own width
            chunk_ids, chunk_mask = input_ids[rows, :width], attention_mask[rows, :width]
            if is_unpadded:
                output = self._read_unpadded(chunk_ids, chunk_lengths)
            else:
                output = self.tower(input_ids=chunk_ids, attention_mask=chunk_mask, return_dict=True)
            pooled.append(self._pool(output, chunk_mask[:, : output.last_hidden_state.shape[1]]))
        return torch.cat(pooled)[torch.argsort(rows_in_order)]

    def _read_unpadded(self, input_ids: torch.Tensor, lengths: list[int]) -> BaseModelOutputWithPooling:
        """Texts end to end as one of sum(lengths) tokens: every product is over tokens alone, in one piece."""
        tower_config = self.config.tower_config
        first = tower_config.pad_token_id + 1 if tower_config.model_type == "roberta" else 0
        flat = torch.cat([text[:length] for text, length in zip(input_ids, lengths, strict=True)])
        positions = torch.cat([torch.arange(first, first + length) for length in lengths]).to(flat.device)
        output = self.tower(input_ids=flat[None], position_ids=positions[None], text_lengths=lengths, return_dict=True)
        texts = output.last_hidden_state[0].split(lengths)
        tokens = nn.utils.rnn.pad_sequence(texts, batch_first=True)  # (N, L, C)
        pooled = self.tower.pooler(tokens) if self.config.pooling == "pooler" else None
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=pooled)


class PhenoLIPVisionModel(PhenoLIPPreTrainedModel):
    """Vision tower with pooling and projection."""

    config: PhenoLIPVisionConfig
    config_class = PhenoLIPVisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _keys_to_ignore_on_load_unexpected = [r"^text_model\.", r"^logit_scale$"]  # loads a whole PhenoLIPModel too
    _auto_map = {
        "AutoConfig": "configuration_phenolip.PhenoLIPVisionConfig",
        "AutoModel": "modeling_phenolip.PhenoLIPVisionModel",
    }

    def __init__(self, config: PhenoLIPVisionConfig):
        super().__init__(config)
        self.tower = _build_trainable_tower(config)
        self.projection = PhenoLIPProjection(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """First layer of the tower."""
        return self.tower.get_input_embeddings()

    @property
    def towers(self) -> list[PreTrainedModel]:
        """One for each part of the embedding."""
        return list(self.tower.towers) if isinstance(self.tower, TowerGroup) else [self.tower]

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features, `(num_images, pooled_size)` -> embeddings, `(num_images, projection_dim)`."""
        return _unit_norm(self.projection(pooled))

    def patch_features(self, last_hidden_state: torch.Tensor) -> torch.Tensor:
        """Features of the tower -> those of places in the image alone, `(num_images, num_places, hidden_size)`."""
        if last_hidden_state.ndim == 4:
            return last_hidden_state.flatten(2).transpose(1, 2)  # (N, C, H, W) -> (N, H * W, C)
        return last_hidden_state[:, _NUM_PREFIX_TOKENS.get(self.config.tower_config.model_type, 0) :]

    def forward(self, pixel_values: torch.FloatTensor, **kwargs: Any) -> PhenoLIPVisionModelOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(num_images, num_channels, height, width)`):
                Images. A tower with position embeddings interpolates them where the size is not its own.
            kwargs:
                Passed on to the tower, for example `output_hidden_states`.
        """
        tower_config = self.config.tower_config
        if tower_config.model_type in _FIXED_SIZE_TOWERS:
            size = tower_config.image_size
            size = (size, size) if isinstance(size, int) else tuple(size)
            kwargs.setdefault("interpolate_pos_encoding", tuple(pixel_values.shape[-2:]) != size)
        output = self.tower(pixel_values=pixel_values, return_dict=True, **kwargs)
        pooled = self._pool(output)
        return PhenoLIPVisionModelOutput(
            image_embeds=self.project(pooled),
            last_hidden_state=output.last_hidden_state,
            pooler_output=pooled,
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
        )

    def _pool(self, output: BaseModelOutputWithPooling) -> torch.Tensor:
        pooling, features = self.config.pooling, output.last_hidden_state
        if pooling == "pooler":
            return output.pooler_output.flatten(1)  # a resnet gives (N, C, 1, 1)
        if pooling == "cls":
            return features[:, 0]
        patches = self.patch_features(features)
        return patches.amax(dim=1) if pooling == "max" else patches.mean(dim=1)


class PhenoLIPModel(PhenoLIPPreTrainedModel):
    r"""
    Images and texts in one space.

    Example:

    ```python
    >>> model = PhenoLIPModel.from_pretrained("runs/quickstart/stage2")
    >>> inputs = processor(images=image, text=["Arachnodactyly", "Low-set ears"], return_tensors="pt")
    >>> model(**inputs).logits_per_image.shape
    torch.Size([1, 2])
    ```"""

    config: PhenoLIPConfig
    config_class = PhenoLIPConfig
    base_model_prefix = "phenolip"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    _auto_map = {
        "AutoConfig": "configuration_phenolip.PhenoLIPConfig",
        "AutoModel": "modeling_phenolip.PhenoLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_phenolip.PhenoLIPModel",
    }

    def __init__(self, config: PhenoLIPConfig):
        super().__init__(config)
        self.text_model = PhenoLIPTextModel._from_config(config.text_config)
        self.vision_model = PhenoLIPVisionModel._from_config(config.vision_config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Token embeddings of the text tower."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Sets the token embeddings of the text tower."""
        self.text_model.set_input_embeddings(value)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keeps the inverse temperature at `max_logit_scale` or below; meant for after each optimiser step."""
        self.logit_scale.clamp_(max=math.log(self.config.max_logit_scale))

    def get_text_features(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> torch.FloatTensor:
        """Embeddings of texts, `(num_texts, projection_dim)`, of unit norm; arguments as in [`PhenoLIPTextModel`]."""
        return self.text_model(input_ids, attention_mask, chunk_size=chunk_size, **kwargs).text_embeds

    def get_image_features(self, pixel_values: torch.FloatTensor, **kwargs: Any) -> torch.FloatTensor:
        """Embeddings of images, `(num_images, projection_dim)`, of unit norm."""
        return self.vision_model(pixel_values, **kwargs).image_embeds

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        return_loss: bool = False,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> PhenoLIPOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(num_texts, sequence_length)`, *optional*):
                Tokens. Images or texts alone give the embeddings of their side, and no logits.
            pixel_values (`torch.FloatTensor` of shape `(num_images, num_channels, height, width)`, *optional*):
                Images.
            attention_mask (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                1 for a token, 0 for padding.
            token_type_ids (`torch.LongTensor`, *optional*):
                Accepted and not read.
            return_loss (`bool`, *optional*, defaults to `False`):
                Return the contrastive loss, row i of the texts belonging to row i of the images.
            chunk_size (`int`, *optional*):
                See [`PhenoLIPTextModel.forward`].
            kwargs:
                Passed on to both towers, for example `output_hidden_states`.
        """
        if pixel_values is None and input_ids is None:
            raise ValueError("`input_ids` or `pixel_values` must be given, got neither.")
        if return_loss and (pixel_values is None or input_ids is None):
            raise ValueError("`return_loss` needs both `input_ids` and `pixel_values`, got one of them.")
        text_output = vision_output = None
        if input_ids is not None:
            text_kwargs = kwargs if chunk_size is None else {}
            text_output = self.text_model(input_ids, attention_mask, chunk_size=chunk_size, **text_kwargs)
        if pixel_values is not None:
            vision_output = self.vision_model(pixel_values, **kwargs)
        if text_output is None:
            return PhenoLIPOutput(image_embeds=vision_output.image_embeds, vision_model_output=vision_output)
        if vision_output is None:
            return PhenoLIPOutput(text_embeds=text_output.text_embeds, text_model_output=text_output)
        text_embeds, image_embeds = text_output.text_embeds, vision_output.image_embeds
        with torch.autocast(image_embeds.device.type, enabled=False):  # float32, whatever the towers compute in
            logits_per_image = self.logit_scale.float().exp() * image_embeds @ text_embeds.t()
        return PhenoLIPOutput(
            loss=_contrastive_loss(logits_per_image) if return_loss else None,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.t(),
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text_output,
            vision_model_output=vision_output,
        )


def _text_lengths(attention_mask: torch.Tensor) -> list[int]:
    """Tokens of each text, 1 or more; the one time that the device is waited for."""
    positions = torch.arange(1, attention_mask.shape[1] + 1, device=attention_mask.device)
    is_token = attention_mask.bool()
    counts, ends = torch.stack([is_token.sum(dim=1), (is_token * positions).amax(dim=1)]).tolist()
    if counts != ends:
        raise ValueError(
            "`attention_mask` must be padded on the right where `chunk_size` is given, got padding before a token; "
            "set `padding_side='right'` in the tokenizer."
        )
    return [max(count, 1) for count in counts]


def unpadded_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    text_lengths: list[int] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each of the texts that lie end to end; without `text_lengths`, plain attention.

    Query, key and value are `(num_texts, num_heads, num_tokens, head_size)`, for
    texts end to end with one text of all tokens; returns `(num_texts, num_tokens, num_heads, head_size)`.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    lengths = [query.shape[2]] if text_lengths is None else text_lengths
    read = []
    for one_query, one_key, one_value in zip(*(part.split(lengths, 2) for part in (query, key, value)), strict=True):
        scores = one_query @ one_key.transpose(2, 3) * scaling
        if attention_mask is not None:
            scores = scores + attention_mask
        weights = F.dropout(scores.softmax(dim=-1), dropout, training=dropout > 0)
        read.append(weights @ one_value)
    return torch.cat(read, dim=2).transpose(1, 2), None


AttentionInterface.register(UNPADDED, unpadded_attention)
AttentionMaskInterface.register(UNPADDED, eager_mask)


def build_tower(config: PreTrainedConfig) -> PreTrainedModel:
    """Tower of random weights, of any type that PhenoLIP takes."""
    tower_class = TOWER_CLASSES.get(config.model_type)
    return AutoModel.from_config(config) if tower_class is None else tower_class._from_config(config)


def _build_trainable_tower(config: PhenoLIPTextConfig | PhenoLIPVisionConfig) -> PreTrainedModel | TowerGroup:
    """Towers without the layers that their pooling does not read: they would get no gradient."""
    if config.num_towers > 1:
        return TowerGroup([_build_one_tower(config) for _ in range(config.num_towers)])
    return _build_one_tower(config)


def _build_one_tower(config: PhenoLIPTextConfig | PhenoLIPVisionConfig) -> PreTrainedModel:
    tower = build_tower(config.tower_config)
    pooler = POOLERS.get(config.tower_config.model_type)
    if config.pooling != "pooler" and pooler is not None:
        setattr(tower, pooler, nn.Identity())
    return tower


def _unit_norm(embeds: torch.Tensor) -> torch.Tensor:
    """(N, D) -> (N, D), float32: half precision would lose the third digit of a cosine."""
    return F.normalize(embeds.float(), dim=-1)


def _contrastive_loss(logits_per_image: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of matched rows, mean over images and texts, in nats (Radford et al. 2021, figure 3)."""
    num_images, num_texts = logits_per_image.shape
    if num_images != num_texts:
        raise ValueError(
            f"`return_loss` needs as many images as texts, got {num_images} images and {num_texts} texts."
        )
    labels = torch.arange(num_images, device=logits_per_image.device)
    return (F.cross_entropy(logits_per_image, labels) + F.cross_entropy(logits_per_image.t(), labels)) / 2


__all__ = [
    "PhenoLIPModel",
    "PhenoLIPOutput",
    "PhenoLIPPreTrainedModel",
    "PhenoLIPTextModel",
    "PhenoLIPTextModelOutput",
    "PhenoLIPVisionModel",
    "PhenoLIPVisionModelOutput",
]
