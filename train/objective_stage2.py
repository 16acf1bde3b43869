"""Stage 2: images close to their captions and phenotypes, both close to what the frozen knowledge encoder says."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from phenolip.train.distillation import KnowledgeDistillation
from phenolip.train.gather import gather_rows
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss
from phenolip.train.targets.phenotype_targets import caption_targets

ROW_ENTRIES = ("group_ids", "knowledge_embeds", "labels", "label_values", "label_valid")


class ImageTextObjective(nn.Module):
    """PhenoLIP model plus L = L_m + lambda * sum of the forms of distillation + mu * L_name.

    L_m: image against caption. The forms are those of `KnowledgeDistillation`; the paper's is `contrastive`, caption
    against the teacher's embedding of the same caption (PhenoLIP, arXiv 2602.06184). L_name: image against the names
    of all training phenotypes (ours).

    Args:
        model: PhenoLIPModel.
        pixel_mean, pixel_std: Of each channel, for pixels from 0 to 1.
        knowledge_weight: lambda; 0 leaves the teacher out.
        distillation: Form -> weight.
        knowledge_dim: Width of the teacher's embeddings.
        share_scale: Distillation uses the scale of L_m (KEP); otherwise its own.
        name_weight: mu; 0 leaves names out.
        mask_duplicates: Rows of one caption, image, case or article are not negatives of each other.
        caption_target_weight: Share of L_m's target that goes to captions of fitting phenotypes; 0 is CLIP.
        chunk_size: Texts encoded together, each chunk padded to its own longest.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        pixel_mean: list[float],
        pixel_std: list[float],
        knowledge_weight: float,
        distillation: Mapping[str, float],
        knowledge_dim: int,
        share_scale: bool,
        name_weight: float,
        mask_duplicates: bool,
        caption_target_weight: float,
        chunk_size: int,
    ) -> None:
        super().__init__()
        self.model, self.chunk_size = model, chunk_size
        self.knowledge_weight, self.name_weight = knowledge_weight, name_weight
        self.caption_target_weight = caption_target_weight
        self.register_buffer("pixel_mean", 255 * torch.tensor(pixel_mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", 255 * torch.tensor(pixel_std).view(1, -1, 1, 1), persistent=False)
        self.contrastive = PairedContrastiveLoss(mask_duplicates)
        self.name_loss = PhenotypeNameLoss()
        self.distillation = None
        if knowledge_weight:
            config = model.config
            self.distillation = KnowledgeDistillation(
                distillation,
                width=config.projection_dim,
                knowledge_dim=knowledge_dim,
                log_scale=None if share_scale else config.logit_scale_init_value,
            )
        self.needs_names = bool(name_weight) or bool(knowledge_weight and "names" in distillation)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Batch of `PairCollator` -> {"loss", "image_text", "image_name", "knowledge_...", "temperature"}, scalars.

        Shapes (n rows, C names, L tokens, D widths): pixels (n, 3, S, S) uint8 or, where the vision tower is frozen,
        image_pooled (n, D); group_ids (n, G), and as needed knowledge_embeds (n, D), knowledge_names (C, D), labels
        (n, C) bool, label_values and label_valid (n, C); texts as caption_input_ids and caption_attention_mask (n, L)
        or, where the text tower is frozen, caption_pooled (n, D); likewise name_* with C rows.
        """
        image_embeds = gather_rows(self._image_embeds(batch))
        text_embeds = gather_rows(self._text_embeds(batch, "caption"))
        name_embeds = self._text_embeds(batch, "name") if self.needs_names else None
        whole = {name: gather_rows(batch[name]) for name in ROW_ENTRIES if name in batch}
        if "knowledge_names" in batch:
            whole["knowledge_names"] = batch["knowledge_names"]
        with torch.autocast(image_embeds.device.type, enabled=False):  # similarities in float32
            return self._losses(image_embeds, text_embeds, name_embeds, whole)

    def _image_embeds(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if "image_pooled" in batch:
            return self.model.vision_model.project(batch["image_pooled"])
        # The collator stacks rows of (S, S, 3): permuted, they are channels_last already.
        pixel_values = (batch["pixels"].float() - self.pixel_mean) / self.pixel_std
        return self.model.get_image_features(pixel_values)

    def _text_embeds(self, batch: dict[str, torch.Tensor], kind: str) -> torch.Tensor:
        pooled = batch.get(f"{kind}_pooled")
        if pooled is not None:
            return self.model.text_model.project(pooled)
        return self.model.get_text_features(
            batch[f"{kind}_input_ids"], batch[f"{kind}_attention_mask"], chunk_size=self.chunk_size
        )

    def _losses(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        name_embeds: torch.Tensor | None,
        batch: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        scale = self._bounded(self.model.logit_scale)
        values, valid = batch.get("label_values", batch.get("labels")), batch.get("label_valid")
        fit = known = None
        if self.caption_target_weight:
            everything = torch.ones_like(batch["labels"]) if valid is None else valid
            fit, known = caption_targets(batch["labels"], values, everything)
        losses = {
            "image_text": self.contrastive(
                image_embeds, text_embeds, scale, batch["group_ids"], fit, known, self.caption_target_weight
            )
        }
        total = losses["image_text"]
        if self.distillation is not None:
            log_scale = self.distillation.log_scale
            own_scale = scale if log_scale is None else self._bounded(log_scale)
            given, forms = self.distillation(
                image_embeds, text_embeds, name_embeds, batch, scale=scale, own_scale=own_scale
            )
            total = total + self.knowledge_weight * given
            losses |= {f"knowledge_{form}": loss for form, loss in forms.items()}
        if self.name_weight:
            losses["image_name"] = self.name_loss(image_embeds, name_embeds, scale, values, valid)
            total = total + self.name_weight * losses["image_name"]
        return {"loss": total, **losses, "temperature": 1 / scale.detach()}

    def _bounded(self, log_scale: torch.Tensor) -> torch.Tensor:
        return log_scale.clamp(max=math.log(self.model.config.max_logit_scale)).exp()
