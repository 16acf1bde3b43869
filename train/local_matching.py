"""The local term of Stage 2: regions and words of the two towers in one space, and their loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedConfig

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.losses.local_region_word import LocalRegionWordLoss
from phenolip.train.losses.paired_contrastive import duplicate_mask


class LocalMatching(nn.Module):
    """`LocalRegionWordLoss` over the last hidden states of both towers, each through a linear map of its own.

    Args:
        model: PhenoLIPModel, for the widths of its towers.
        weight: Of the term in the sum.
        special_ids: Tokens that are no words, such as [CLS].
        max_length: Longest text in tokens.
        mask_duplicates: Rows of one caption, image, case or article are not negatives of each other.
    """

    def __init__(
        self,
        model: PhenoLIPModel,
        *,
        weight: float,
        special_ids: Sequence[int],
        max_length: int,
        mask_duplicates: bool,
    ) -> None:
        super().__init__()
        config = model.config
        self.weight, self.max_length, self.mask_duplicates = weight, max_length, mask_duplicates
        self.of_regions = nn.Linear(_width(config.vision_config.tower_config), config.projection_dim, bias=False)
        self.of_tokens = nn.Linear(_width(config.text_config.tower_config), config.projection_dim, bias=False)
        for layer in (self.of_regions, self.of_tokens):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        self.register_buffer("special_ids", torch.tensor(sorted(special_ids)), persistent=False)
        self.loss = LocalRegionWordLoss()

    def encode(
        self,
        model: PhenoLIPModel,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Each tower read once, for its embeddings and for the features behind them.

        Every text has room for `max_length` words, so that shares of a batch can be put together.

        Shapes (n rows, R regions, L tokens, D width): pixel_values (n, 3, S, S), input_ids and attention_mask (n, L);
            returns image_embeds and text_embeds (n, D), regions (n, R, D), words (n, max_length, D), zeros where there
            is no word.
        """
        images, texts = model.vision_model(pixel_values), model.text_model(input_ids, attention_mask)
        is_word = attention_mask.bool() & ~torch.isin(input_ids, self.special_ids)
        words = self.of_tokens(texts.last_hidden_state) * is_word[:, :, None]
        return {
            "image_embeds": images.image_embeds,
            "text_embeds": texts.text_embeds,
            "regions": self.of_regions(model.vision_model.patch_features(images.last_hidden_state)),
            "words": F.pad(words, (0, 0, 0, self.max_length - words.shape[1])),
        }

    def forward(self, regions: torch.Tensor, words: torch.Tensor, group_ids: torch.Tensor) -> torch.Tensor:
        """The loss of the whole batch, not yet weighted. Shapes: as `encode` gives them, group_ids (N, G)."""
        excluded = duplicate_mask(group_ids) if self.mask_duplicates else None
        return self.loss(regions, words, words.detach().abs().sum(dim=-1) > 0, excluded)


def _width(tower: PreTrainedConfig) -> int:
    """Width of a tower's last hidden state; towers of several stages name one for each."""
    width = getattr(tower, "hidden_size", None)
    return tower.hidden_sizes[-1] if width is None else width
