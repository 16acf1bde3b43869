"""Which texts of a batch fit which images, where images have several texts each and reports also deny and doubt."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from phenolip.train.losses.paired_contrastive import duplicate_mask
from phenolip.train.targets.categories import CategoryRelations
from phenolip.train.targets.owned_texts import largest_of_own, own_texts, owners_of
from phenolip.train.targets.ssm import SemanticSimilarity, semantic_similarity_matrix

TextTargetKind = Literal["identity", "multi_hot", "closure", "lin", "ssm"]


class TextTargets(nn.Module):
    """Target matrix of a batch: how far each text is true of each image, and where that is known.

    An image's own texts have 1. A text whose category the image's report denies, or a descendant of it, has 0,
    whatever its likeness to other findings of the image. A text whose category, or an ancestor or descendant of it,
    the report is uncertain about is left open. A finding that is said to be present counts before both.

    Args:
        kind: `identity`, own texts alone; `multi_hot`, texts of a category that the image has; `closure` and `lin`,
            by the relations of categories; `ssm`, by the likeness of texts.
        relations: Of the categories of the data.
        similarity: Of texts; needed by `ssm`.
        mask_duplicates: Texts of other rows of the same image, case or article are left out, and so, for `identity`,
            are texts that read as one of the image's own.

    Shapes of the batch's entries (N images, K slots, A and U most denied and doubted categories of an image, T width):
        text_ids, category_ids: (N, K) numbers, -1 in empty slots. absent_ids: (N, A), uncertain_ids: (N, U), -1
        likewise. group_ids: (N, G). target_embeds: (N, K, T), of `ssm`.
        returns: targets (N, M) and valid (N, M) bool over the M texts in the order of rows and slots. An image
        without texts is valid only where a finding is denied.

    Source: `ssm` MedFILIP, arXiv 2501.10775, equations 4 and 5; what becomes of denied and doubted findings is ours.
    """

    def __init__(
        self,
        kind: TextTargetKind,
        relations: CategoryRelations,
        similarity: SemanticSimilarity | None = None,
        *,
        mask_duplicates: bool = True,
    ) -> None:
        super().__init__()
        self.kind, self.similarity, self.mask_duplicates = kind, similarity, mask_duplicates
        for name in ("values", "valid", "descends"):
            self.register_buffer(name, torch.from_numpy(getattr(relations, name)), persistent=False)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        mask = batch["text_ids"] >= 0
        owner, num_images = owners_of(mask), len(mask)
        own = own_texts(owner, num_images)  # (N, M)
        texts, categories = batch["text_ids"][mask], batch["category_ids"][mask]
        targets, valid = self._fit(batch, mask, owner, own, categories)
        if self.mask_duplicates:
            valid = valid & ~duplicate_mask(batch["group_ids"])[:, owner]
            if self.kind == "identity":
                valid = valid & ~_any_of_own(texts[:, None] == texts[None, :], owner, num_images)
        present = _any_of_own(categories[:, None] == categories[None, :], owner, num_images)
        absent = self._touches(batch["absent_ids"], self.descends[:, categories]) & ~present
        around = self.descends | self.descends.T
        doubted = self._touches(batch["uncertain_ids"], around[:, categories]) & ~present
        known = own.any(dim=1, keepdim=True) & valid & ~doubted
        return targets.masked_fill(absent, 0.0).masked_fill(own, 1.0), known | absent | own

    def _fit(
        self,
        batch: Mapping[str, torch.Tensor],
        mask: torch.Tensor,
        owner: torch.Tensor,
        own: torch.Tensor,
        categories: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the image's present findings alone say: (N, M) targets and validity."""
        everywhere = torch.ones_like(own)
        if self.kind == "identity":
            return own.float(), everywhere
        if self.kind == "ssm":
            pairwise = self.similarity(batch["target_embeds"][mask], categories)
            return semantic_similarity_matrix(pairwise, owner, len(mask)), everywhere
        targets = largest_of_own(self.values[categories][:, categories], owner, len(mask))
        left_open = _any_of_own(~self.valid[categories][:, categories], owner, len(mask))
        return targets, ~left_open | (targets > 0)

    @staticmethod
    def _touches(category_ids: torch.Tensor, reached: torch.Tensor) -> torch.Tensor:
        """Which texts any of an image's categories reaches. Shapes: (N, A), (V, M); returns (N, M) bool."""
        if not len(reached):  # no category at all
            return reached.new_zeros(len(category_ids), reached.shape[1])
        named = (category_ids >= 0)[:, :, None]
        return (reached[category_ids.clamp(min=0)] & named).any(dim=1)


def _any_of_own(pairwise: torch.Tensor, owner: torch.Tensor, num_images: int) -> torch.Tensor:
    return largest_of_own(pairwise.float(), owner, num_images) > 0
