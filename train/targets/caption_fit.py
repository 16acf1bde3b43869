"""Which captions of a batch fit which images, where every image has one caption."""

from collections.abc import Mapping

import torch
from torch import nn

from phenolip.train.targets.phenotype_targets import caption_targets
from phenolip.train.targets.ssm import SemanticSimilarity


class CaptionFit(nn.Module):
    """By identity, by the likeness of captions (`similarity`), or by the phenotypes of the rows.

    Args:
        kind: `identity`, `ssm`, or what the batch's labels were made by: `multi_hot`, `closure`, `lin`.
        similarity: Of captions; needed by `ssm`.

    Shapes (N rows, C candidates, T width): target_embeds (N, T) for `ssm`; labels and, if there are any, label_values
        and label_valid (N, C) for the last three; returns fit (N, N) in [0, 1] and known (N, N) bool.
    """

    def __init__(self, kind: str, similarity: SemanticSimilarity | None = None) -> None:
        super().__init__()
        self.kind, self.similarity = kind, similarity

    def forward(self, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        return self.tile(batch, slice(None), slice(None))

    def tile(
        self, batch: Mapping[str, torch.Tensor], rows: slice, columns: slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for some images against some captions; returns two (rows, columns)."""
        if self.kind in ("identity", "ssm"):
            places = torch.arange(len(batch["group_ids"]), device=batch["group_ids"].device)
            own = places[rows, None] == places[None, columns]
            known = torch.ones_like(own)
            if self.kind == "identity":
                return own.float(), known
            embeds = batch["target_embeds"]
            return self.similarity.of_pairs(embeds[rows], embeds[columns]).masked_fill(own, 1.0), known
        labels = batch["labels"]
        values, valid = batch.get("label_values", labels)[rows], batch.get("label_valid")
        everything = torch.ones_like(labels[rows]) if valid is None else valid[rows]
        return caption_targets(labels[columns], values, everything)
