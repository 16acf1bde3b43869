"""The plain vision transformers of timm that open_clip takes by name, and their sizes.

timm's names and sizes are facts of its registry: `timm.create_model(NAME)` gives these widths. Only models of learnt
positions, one class token, biases everywhere and the norm at the end are here: they are what transformers calls `vit`.
"""

from dataclasses import dataclass
from typing import Any

from phenolip.exceptions import ConfigurationError, near_matches


@dataclass(frozen=True)
class TimmViT:
    """Sizes of one model; images are square."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    patch_size: int
    image_size: int
    mlp_ratio: int = 4

    def tower_settings(self) -> dict[str, Any]:
        """The same in the words of a `vit` config; timm's norms add 1e-6, not the 1e-12 of that config."""
        return {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.mlp_ratio * self.hidden_size,
            "patch_size": self.patch_size,
            "image_size": self.image_size,
            "layer_norm_eps": 1e-6,
            "hidden_act": "gelu",
        }

    @classmethod
    def of_tower(cls, tower: Any) -> "TimmViT":
        """The model of timm that a `vit` config equals.

        Raises:
            ConfigurationError: There is none.
        """
        for vit in TIMM_VITS.values():
            if all(getattr(tower, key) == value for key, value in vit.tower_settings().items()) and tower.qkv_bias:
                return vit
        raise ConfigurationError(
            f"`vision_config.tower_config` must be a ViT that timm has a name for, of {', '.join(TIMM_VITS)}, with "
            f"`layer_norm_eps` 1e-6, got {tower.num_hidden_layers} layers of width {tower.hidden_size}, patches of "
            f"{tower.patch_size} in {tower.image_size} pixels and `layer_norm_eps` {tower.layer_norm_eps}."
        )


def timm_vit(name: str) -> TimmViT:
    """Sizes of a model by its name in timm; a tag after a dot, which names weights, is no part of it.

    Raises:
        ConfigurationError: No such model is known here.
    """
    plain = str(name).partition(".")[0]
    if plain not in TIMM_VITS:
        raise ConfigurationError(
            f"`vision_cfg.timm_model_name` must be a plain ViT, got '{name}'.{near_matches(plain, TIMM_VITS)}"
        )
    return TIMM_VITS[plain]


def _vits() -> dict[str, TimmViT]:
    sizes = {
        "tiny": (192, 12, 3, (16,), (224, 384)),
        "small": (384, 12, 6, (16, 32), (224, 384)),
        "base": (768, 12, 12, (16, 32), (224, 384)),
        "large": (1024, 24, 16, (16, 32), (224, 384)),
    }
    vits = [
        TimmViT(f"vit_{size}_patch{patch}_{image}", width, layers, heads, patch, image)
        for size, (width, layers, heads, patches, images) in sizes.items()
        for patch in patches
        for image in images
    ]
    vits += [
        TimmViT("vit_base_patch8_224", 768, 12, 12, 8, 224),
        TimmViT("vit_large_patch14_224", 1024, 24, 16, 14, 224),
        TimmViT("vit_huge_patch14_224", 1280, 32, 16, 14, 224),
        TimmViT("test_vit", 64, 6, 2, 16, 160, mlp_ratio=3),
    ]
    return {vit.name: vit for vit in vits}


TIMM_VITS = _vits()
