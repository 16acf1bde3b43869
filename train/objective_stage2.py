"""Stage 2: images close to their captions, captions close to what the frozen knowledge encoder says of them."""

import math

import torch
from torch import nn

from phenolip.train.gather import gather_rows
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss


class ImageTextObjective(nn.Module):
    """PhenoLIP model plus L = L_m + lambda * L_kd + mu * L_name.

    L_m: image against caption. L_kd: caption against the teacher's embedding of the same caption (PhenoLIP,
    arXiv 2602.06184). L_name: image against the names of all training phenotypes (ours).

    Args:
        model: PhenoLIPModel.
        pixel_mean, pixel_std: Of each channel, for pixels from 0 to 1.
        knowledge_weight: lambda; 0 leaves the teacher out.
        knowledge_dim: Width of the teacher's embeddings; a linear projector is added where the model's differs.
        share_scale: L_kd uses the scale of L_m (KEP); otherwise its own.
        name_weight: mu; 0 leaves names out.
        mask_duplicates: Rows of one caption or one image are not negatives of each other.
        chunk_size: Texts encoded together, each chunk padded to its own longest.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        pixel_mean: list[float],
        pixel_std: list[float],
        knowledge_weight: float,
        knowledge_dim: int,
        share_scale: bool,
        name_weight: float,
        mask_duplicates: bool,
        chunk_size: int,
    ) -> None:
        super().__init__()
        self.model, self.chunk_size = model, chunk_size
        self.knowledge_weight, self.name_weight = knowledge_weight, name_weight
        self.register_buffer("pixel_mean", 255 * torch.tensor(pixel_mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", 255 * torch.tensor(pixel_std).view(1, -1, 1, 1), persistent=False)
        self.contrastive = PairedContrastiveLoss(mask_duplicates)
        self.name_loss = PhenotypeNameLoss()
        width = model.config.projection_dim
        self.knowledge_scale = None
        self.knowledge_projection = nn.Identity()
        if knowledge_weight and not share_scale:
            self.knowledge_scale = nn.Parameter(torch.tensor(float(model.config.logit_scale_init_value)))
        if knowledge_weight and knowledge_dim != width:
            self.knowledge_projection = nn.Linear(width, knowledge_dim, bias=False)
            nn.init.normal_(self.knowledge_projection.weight, std=width**-0.5)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Batch of `PairCollator` -> {"loss", "image_text", "text_knowledge", "image_name", "temperature"}, scalars.

        Shapes (n rows, C names, L tokens, D widths): pixels (n, 3, S, S) uint8, group_ids (n, 2), and as needed
        knowledge_embeds (n, D), labels (n, C) bool; texts as caption_input_ids and caption_attention_mask (n, L) or,
        where the text tower is frozen, caption_pooled (n, D); likewise name_* with C rows.
        """
        # The collator stacks rows of (S, S, 3): permuted, they are channels_last already.
        pixel_values = (batch["pixels"].float() - self.pixel_mean) / self.pixel_std
        image_embeds = gather_rows(self.model.get_image_features(pixel_values))
        text_embeds = gather_rows(self._text_embeds(batch, "caption"))
        name_embeds = self._text_embeds(batch, "name") if self.name_weight else None
        whole = {
            name: gather_rows(batch[name]) for name in ("group_ids", "knowledge_embeds", "labels") if name in batch
        }
        with torch.autocast(image_embeds.device.type, enabled=False):  # similarities in float32
            return self._losses(image_embeds, text_embeds, name_embeds, whole)

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
        losses = {"image_text": self.contrastive(image_embeds, text_embeds, scale, batch["group_ids"])}
        total = losses["image_text"]
        if self.knowledge_weight:
            knowledge_scale = scale if self.knowledge_scale is None else self._bounded(self.knowledge_scale)
            student = nn.functional.normalize(self.knowledge_projection(text_embeds), dim=-1)
            same_caption = batch["group_ids"][:, :1]
            losses["text_knowledge"] = self.contrastive(
                student, batch["knowledge_embeds"], knowledge_scale, same_caption
            )
            total = total + self.knowledge_weight * losses["text_knowledge"]
        if name_embeds is not None:
            losses["image_name"] = self.name_loss(image_embeds, name_embeds, scale, batch["labels"])
            total = total + self.name_weight * losses["image_name"]
        return {"loss": total, **losses, "temperature": 1 / scale.detach()}

    def _bounded(self, log_scale: torch.Tensor) -> torch.Tensor:
        return log_scale.clamp(max=math.log(self.model.config.max_logit_scale)).exp()
