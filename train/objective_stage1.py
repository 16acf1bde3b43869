"""Stage 1: texts of one phenotype close together, those of other phenotypes apart, the farther the less related."""

import math

import numpy as np
import torch
from torch import nn

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.train.gather import gather_rows
from phenolip.train.hierarchy import HierarchyTerm
from phenolip.train.losses.concept_contrastive import ConceptContrastiveLoss


class KnowledgeObjective(nn.Module):
    """Knowledge encoder plus loss: L = L_contrastive + hierarchy_weight * L_hierarchy.

    Args:
        encoder: PhenoLIPTextModel.
        hpo_ids: Terms in the order of `concept_ids`.
        ontology: Source of is_a.
        temperature: Divides cosine similarity.
        learn_temperature: Trains it (KAD); False keeps it fixed (the paper's equation).
        mask_relatives: Ancestors and descendants of a term are not its negatives.
        chunk_size: Texts encoded together, each chunk padded to its own longest.
        contrastive: Loss called with (embeds, concept_ids, scale, excluded); by default multi-positive InfoNCE.
        hierarchy: Term that gives the space the shape of the ontology; None goes without, as the paper does.
        hierarchy_weight: Its weight.
    """

    row_entries = ("concept_ids",)

    def __init__(
        self,
        encoder: nn.Module,
        hpo_ids: list[str],
        ontology: PhenotypeOntology,
        *,
        temperature: float,
        learn_temperature: bool,
        mask_relatives: bool,
        chunk_size: int,
        contrastive: nn.Module | None = None,
        hierarchy: HierarchyTerm | None = None,
        hierarchy_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.chunk_size = encoder, chunk_size
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learn_temperature)
        self.loss = contrastive or ConceptContrastiveLoss()
        self.hierarchy, self.hierarchy_weight = hierarchy, hierarchy_weight
        self.num_concepts = len(hpo_ids)
        keys = torch.from_numpy(_relative_keys(hpo_ids, ontology)) if mask_relatives else None
        self.register_buffer("relative_keys", keys, persistent=False)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Batch of `ConceptCollator` -> {"loss", "temperature"} and, with a hierarchy term, its parts; scalars."""
        return self.losses(self.encode(batch), batch)

    def encode(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Embeddings of this process's texts: text_embeds (n, D)."""
        output = self.encoder(batch["input_ids"], batch["attention_mask"], chunk_size=self.chunk_size)
        return {"text_embeds": output.text_embeds}

    def losses(self, embeds: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What `forward` returns, from embeddings and concept_ids of all texts of this process."""
        embeds, concepts = gather_rows(embeds["text_embeds"]), gather_rows(batch["concept_ids"])
        scale = self.logit_scale.exp().clamp(max=100)
        with torch.autocast(concepts.device.type, enabled=False):  # similarities in float32
            loss = self.loss(embeds, concepts, scale, self._relatives(concepts))
            parts = {}
            if self.hierarchy is not None:
                parts = {"contrastive": loss, "hierarchy": self.hierarchy(embeds, concepts, scale)}
                loss = loss + self.hierarchy_weight * parts["hierarchy"]
        return {"loss": loss, **parts, "temperature": 1 / scale.detach()}

    def _relatives(self, concepts: torch.Tensor) -> torch.Tensor | None:
        """(N, N) bool: True where one concept is an ancestor of the other; None when relatives stay negatives."""
        if self.relative_keys is None:
            return None
        keys = concepts[:, None] * self.num_concepts + concepts[None, :]
        places = torch.searchsorted(self.relative_keys, keys).clamp(max=len(self.relative_keys) - 1)
        return self.relative_keys[places] == keys


def _relative_keys(hpo_ids: list[str], ontology: PhenotypeOntology) -> np.ndarray:
    """Sorted a * C + b for every pair of terms of which one is an ancestor of the other."""
    place = {hpo_id: number for number, hpo_id in enumerate(hpo_ids)}
    pairs = [
        (place[hpo_id], place[ancestor])
        for hpo_id in hpo_ids
        for ancestor in ontology.ancestors(hpo_id)
        if ancestor in place
    ]
    lower, upper = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return np.sort(np.concatenate([lower * len(hpo_ids) + upper, upper * len(hpo_ids) + lower]))
