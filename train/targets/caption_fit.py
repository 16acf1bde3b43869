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
        if self.kind in ("identity", "ssm"):
            embeds = batch["target_embeds"] if self.kind == "ssm" else batch["group_ids"]
            own = torch.eye(len(embeds), device=embeds.device)
            return own if self.kind == "identity" else self.similarity(embeds), torch.ones_like(own, dtype=torch.bool)
        labels = batch["labels"]
        valid = batch.get("label_valid")
        everything = torch.ones_like(labels) if valid is None else valid
        return caption_targets(labels, batch.get("label_values", labels), everything)
