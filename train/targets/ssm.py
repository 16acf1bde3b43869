"""MedFILIP's semantic similarity matrix: a text fits an image as far as it resembles the image's own texts."""

from typing import Literal

import numpy as np
import torch
from torch import nn

from phenolip.exceptions import ConfigurationError
from phenolip.train.targets.owned_texts import largest_of_own, own_texts

Gate = Literal["none", "category", "hpo_ancestor"]
Calibration = Literal["none", "clamp", "affine"]


class SemanticSimilarity(nn.Module):
    """Cosine of texts in the space of a frozen text model, calibrated, and zero where a gate is shut.

    Args:
        gate: Which pairs may resemble each other: all (`none`, the paper); those of one category (`category`, its
            code); those of one category, or of ancestor and descendant in the ontology (`hpo_ancestor`, ours).
        calibration: `none` leaves the cosine, which may be below 0; `clamp` cuts it to [0, 1]; `affine` stretches it
            to max(0, (cosine - floor) / (1 - floor)), since plain text models find any two texts alike.
        floor: Of `affine`: mean cosine of different texts, below 1.
        related: Of `hpo_ancestor`: (V, V) bool, categories of which one is an ancestor of the other.

    Shapes (M texts, T width):
        text_embeds: (M, T), unit norm. category_ids: (M,), numbers below V; None without a gate.
        returns: (M, M), symmetric, 1 on the diagonal; at most 1 and, but for calibration `none`, at least 0.

    Source: MedFILIP, arXiv 2501.10775, equation 4; the gate by category is its code's, calibration and gate by
        ancestors are ours.
    """

    def __init__(
        self,
        gate: Gate = "none",
        calibration: Calibration = "clamp",
        *,
        floor: float = 0.0,
        related: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        if calibration == "affine" and not -1 <= floor < 1:
            raise ConfigurationError(f"`floor` must be at least -1 and below 1, got {floor}.")
        if gate == "hpo_ancestor" and related is None:
            raise ConfigurationError("`related` must be given for the gate hpo_ancestor, got None.")
        self.gate, self.calibration, self.floor = gate, calibration, floor
        self.register_buffer("related", None if related is None else torch.from_numpy(related), persistent=False)

    def forward(self, text_embeds: torch.Tensor, category_ids: torch.Tensor | None = None) -> torch.Tensor:
        """See the class."""
        similarity = self.of_pairs(text_embeds, text_embeds)
        similarity = torch.where(torch.eye(len(similarity), dtype=torch.bool, device=similarity.device), 1, similarity)
        if self.gate == "none":
            return similarity
        is_open = category_ids[:, None] == category_ids[None, :]
        if self.gate == "hpo_ancestor":
            is_open = is_open | self.related[category_ids][:, category_ids]
        return similarity * is_open

    def of_pairs(self, left_embeds: torch.Tensor, right_embeds: torch.Tensor) -> torch.Tensor:
        """Calibrated cosine of any texts with any others, without the gate.

        Shapes: left_embeds (M, T), right_embeds (K, T); returns (M, K).
        """
        similarity = (left_embeds.float() @ right_embeds.float().T).clamp(max=1.0)
        if self.calibration == "affine":
            similarity = (similarity - self.floor) / (1 - self.floor)
        return similarity if self.calibration == "none" else similarity.clamp(min=0.0)


def semantic_similarity_matrix(similarity: torch.Tensor, owner: torch.Tensor, num_images: int) -> torch.Tensor:
    """S: for each image and text the largest similarity of the text to any of the image's own texts.

    Own texts have exactly 1, an image without texts zeros. Texts are counted as often as they occur in the batch.

    Shapes (N images, M texts of the whole batch): similarity (M, M), from `SemanticSimilarity`; owner (M,), the image
        of each text; returns (N, M).

    Source: MedFILIP, arXiv 2501.10775, equations 4 and 5.

    Example:
        >>> similarity = torch.tensor([[1.0, 0.5, 0.9], [0.5, 1.0, 0.8], [0.9, 0.8, 1.0]])
        >>> semantic_similarity_matrix(similarity, torch.tensor([0, 0, 1]), 2)
        tensor([[1.0000, 1.0000, 0.9000],
                [0.9000, 0.8000, 1.0000]])
    """
    pooled = largest_of_own(similarity, owner, num_images)
    return pooled.masked_fill(own_texts(owner, num_images), 1.0)


def mean_cosine(text_embeds: np.ndarray) -> float:
    """Mean cosine of different texts, the floor of calibration `affine`; 0 for fewer than two texts.

    Shapes: text_embeds (n, T), unit norm; no n x n matrix is made.
    """
    count = len(text_embeds)
    if count < 2:
        return 0.0
    embeds = np.asarray(text_embeds, dtype=np.float64)
    total = embeds.sum(axis=0)
    return float((total @ total - (embeds * embeds).sum()) / (count * (count - 1)))
