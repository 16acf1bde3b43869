"""Stage 2: images close to their texts and phenotypes, both close to what the frozen knowledge encoder says."""

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from phenolip.train.cutmix import mixed_captions, mixed_values
from phenolip.train.distillation import KnowledgeDistillation
from phenolip.train.gather import gather_rows, own_rows
from phenolip.train.local_matching import LocalMatching
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss, duplicate_mask
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss
from phenolip.train.losses.sigmoid_contrastive import SigmoidContrastiveLoss
from phenolip.train.losses.tiled_contrastive import TILED_FROM, TiledContrastiveLoss
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.text_matching import TextMatching, WeightedMatching

ROW_ENTRIES = (
    "group_ids", "knowledge_embeds", "labels", "label_values", "label_valid",
    "text_ids", "category_ids", "absent_ids", "uncertain_ids", "target_embeds", "own_share",
)  # fmt: skip


class ImageTextObjective(nn.Module):
    """PhenoLIP model plus L = kappa * L_m + L_itm + L_local + lambda * sum of the forms of distillation + mu * L_name.

    L_m: image against caption, or against the texts of its findings. L_itm: their similarities against a target
    matrix (MedFILIP, arXiv 2501.10775). L_local: words of captions against regions of images (GLoRIA, ICCV 2021). The
    forms are those of `KnowledgeDistillation`; the paper's is `contrastive`, caption against the teacher's embedding
    of the same caption (PhenoLIP, arXiv 2602.06184). L_name: image against the names of training phenotypes (ours).

    Args:
        model: PhenoLIPModel.
        pixel_mean, pixel_std: Of each channel, for pixels from 0 to 1.
        knowledge_weight: lambda; 0 leaves the teacher out.
        distillation: Form -> weight.
        knowledge_dim: Width of the teacher's embeddings.
        share_scale: Distillation uses the scale of L_m (KEP); otherwise its own.
        name_weight: mu; 0 leaves names out.
        mask_duplicates: Rows of one caption, image, case or article are not negatives of each other.
        caption_target_weight: Share of L_m's target that goes to captions that fit; 0 is CLIP.
        chunk_size: Texts encoded together, each chunk padded to its own longest.
        contrastive_weight: kappa; 0 leaves L_m out.
        caption_fit: Which captions fit which images.
        matching: L_itm with its weight; None leaves it out.
        findings: L_m and L_itm of the texts of findings, in place of those of captions; None where captions are
            trained on. `contrastive_weight`, `caption_fit` and `matching` are then its own.
        local: Words of captions against regions of images; None leaves it out.
        sigmoid: L_m of captions is SigLIP's, pair by pair, instead of InfoNCE.
        tiled_from: Rows from which on L_m of captions and the distillation `contrastive` are computed tile by tile.
        teacher: Frozen PhenoLIPTextModel that reads the captions here, where a batch holds its tokens instead of
            knowledge_embeds; it is no part of this module, and no checkpoint holds it.
    """

    row_entries = ROW_ENTRIES

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
        contrastive_weight: float = 1.0,
        caption_fit: CaptionFit | None = None,
        matching: WeightedMatching | None = None,
        findings: TextMatching | None = None,
        local: LocalMatching | None = None,
        sigmoid: bool = False,
        tiled_from: int = TILED_FROM,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._teacher = (teacher,)  # hidden from `parameters`
        self.model, self.chunk_size, self.local = model, chunk_size, local
        self.knowledge_weight, self.name_weight = knowledge_weight, name_weight
        self.caption_target_weight, self.contrastive_weight = caption_target_weight, contrastive_weight
        self.caption_fit, self.matching, self.findings = caption_fit or CaptionFit("multi_hot"), matching, findings
        self.register_buffer("pixel_mean", 255 * torch.tensor(pixel_mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", 255 * torch.tensor(pixel_std).view(1, -1, 1, 1), persistent=False)
        self.mask_duplicates, self.tiled_from = mask_duplicates, 0 if sigmoid else tiled_from
        self.contrastive = PairedContrastiveLoss(mask_duplicates)
        self.tiled = SigmoidContrastiveLoss(mask_duplicates) if sigmoid else TiledContrastiveLoss(mask_duplicates)
        self.name_loss = PhenotypeNameLoss()
        self.distillation = None
        if knowledge_weight:
            config = model.config
            self.distillation = KnowledgeDistillation(
                distillation,
                width=config.projection_dim,
                knowledge_dim=knowledge_dim,
                log_scale=None if share_scale else config.logit_scale_init_value,
                tiled_from=tiled_from,
            )
        self.needs_names = bool(name_weight) or bool(knowledge_weight and "names" in distillation)

    @property
    def read_unevenly(self) -> list[nn.Module]:
        """Modules that processes call a different number of times: texts of findings are not as many in each."""
        return [] if self.findings is None else [self.model.text_model]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Batch of `PairCollator` -> {"loss", "image_text", "matching_...", "image_name", "knowledge_...",
        "temperature"}, scalars.

        Shapes (n rows, C names, L tokens, D widths): pixels (n, 3, S, S) uint8 or, where the vision tower is frozen,
        image_pooled (n, D); group_ids (n, G), and as needed knowledge_embeds (n, D), knowledge_names (C, D), labels
        (n, C) bool, label_values and label_valid (n, C), own_share (n,) where `CutMix` mixed images; texts as
        caption_input_ids and caption_attention_mask (n, L) or, where the text tower is frozen, caption_pooled (n, D);
        likewise name_* with C rows. For findings the entries of `TextSlots` stand in place of the captions',
        knowledge_embeds among them.
        """
        return self.losses(self.encode(batch), batch)

    def encode(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Embeddings of this process's rows, none of which depends on another row.

        Shapes: image_embeds (n, D), text_embeds (n, D) of captions or (n, K, D) of findings, zeros in empty slots;
        with `local` what it returns; where the teacher reads along also knowledge_embeds (n, T).
        """
        if self.local is not None:
            tokens = (batch["caption_input_ids"], batch["caption_attention_mask"])
            return {**self.local.encode(self.model, self._pixel_values(batch), *tokens), **self._knowledge(batch)}
        of_texts = partial(self._text_embeds, kind="caption") if self.findings is None else self._slot_embeds
        return {"image_embeds": self._image_embeds(batch), "text_embeds": of_texts(batch), **self._knowledge(batch)}

    def losses(self, embeds: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What `forward` returns, from embeddings and the entries `row_entries` of all rows of this process.

        Entries without rows (knowledge_names, name_*) stand in `batch` as they are; names are encoded here.
        """
        embeds = {name: gather_rows(tensor) for name, tensor in embeds.items()}
        name_embeds = self._text_embeds(batch, "name") if self.needs_names else None
        whole = {name: gather_rows(batch[name]) for name in self.row_entries if name in batch}
        if "knowledge_embeds" in embeds:
            whole["knowledge_embeds"] = embeds.pop("knowledge_embeds").detach()
        if "knowledge_names" in batch:
            whole["knowledge_names"] = batch["knowledge_names"]
        with torch.autocast(embeds["image_embeds"].device.type, enabled=False):  # similarities in float32
            return self._losses(**embeds, name_embeds=name_embeds, batch=whole)

    @torch.no_grad()
    def _knowledge(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        (teacher,) = self._teacher
        if teacher is None:
            return {}
        tokens = (batch["teacher_input_ids"], batch["teacher_attention_mask"])
        return {"knowledge_embeds": teacher(*tokens, chunk_size=self.chunk_size).text_embeds.float()}

    def _image_embeds(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if "image_pooled" in batch:
            return self.model.vision_model.project(batch["image_pooled"])
        return self.model.get_image_features(self._pixel_values(batch))

    def _pixel_values(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        # The collator stacks rows of (S, S, 3): permuted, they are channels_last already.
        return (batch["pixels"].float() - self.pixel_mean) / self.pixel_std

    def _text_embeds(self, batch: dict[str, torch.Tensor], kind: str) -> torch.Tensor:
        pooled = batch.get(f"{kind}_pooled")
        if pooled is not None:
            return self.model.text_model.project(pooled)
        return self.model.get_text_features(
            batch[f"{kind}_input_ids"], batch[f"{kind}_attention_mask"], chunk_size=self.chunk_size
        )

    def _slot_embeds(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """(n, K, D), zeros in empty slots."""
        filled = batch["text_ids"] >= 0
        if not filled.any():  # one text is read all the same: DDP waits for the gradient of every weight
            filled = filled.clone()
            filled[0, 0] = True
        names = ("text_pooled", "text_input_ids", "text_attention_mask")
        embeds = self._text_embeds({name: batch[name][filled] for name in names if name in batch}, "text")
        slots = embeds.new_zeros(*filled.shape, embeds.shape[-1])
        slots[filled] = embeds
        return slots

    def _losses(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        name_embeds: torch.Tensor | None,
        batch: dict[str, torch.Tensor],
        regions: torch.Tensor | None = None,
        words: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        scale = self._bounded(self.model.logit_scale)
        if self.findings is None:
            total, losses = self._caption_losses(image_embeds, text_embeds, batch, scale)
        else:
            text_embeds = text_embeds[batch["text_ids"] >= 0]  # (M, D)
            total, losses = self.findings(image_embeds, text_embeds, batch, scale)
        if self.local is not None:
            losses["local_region_word"] = self.local(regions, words, batch["group_ids"])
            total = total + self.local.weight * losses["local_region_word"]
        if self.distillation is not None:
            given, forms = self._distil(image_embeds, text_embeds, name_embeds, batch, scale)
            total = total + self.knowledge_weight * given
            losses |= {f"knowledge_{form}": loss for form, loss in forms.items()}
        if self.name_weight:
            values, valid = batch.get("label_values", batch.get("labels")), batch.get("label_valid")
            if "own_share" in batch:
                values, valid = mixed_values(values, valid, batch["own_share"])
            losses["image_name"] = self.name_loss(image_embeds, name_embeds, scale, values, valid)
            total = total + self.name_weight * losses["image_name"]
        return {"loss": total, **losses, "temperature": 1 / scale.detach()}

    def _caption_losses(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        batch: dict[str, torch.Tensor],
        scale: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        losses, total = {}, 0.0
        if self.contrastive_weight:
            losses["image_text"] = self._contrast(image_embeds, text_embeds, batch, scale)
            total = self.contrastive_weight * losses["image_text"]
        if self.matching is not None:
            cosine = image_embeds.float() @ text_embeds.float().T
            weighted, parts = self.matching(cosine, scale, *self._caption_matrix(batch))
            total, losses = total + weighted, losses | parts
        return total, losses

    def _contrast(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        batch: dict[str, torch.Tensor],
        scale: torch.Tensor,
    ) -> torch.Tensor:
        pairs, weight = (image_embeds, text_embeds, scale, batch["group_ids"]), self.caption_target_weight
        if "own_share" in batch:  # one matrix, however large the batch
            duplicates = duplicate_mask(batch["group_ids"]) & self.mask_duplicates
            return self.contrastive(*pairs, *mixed_captions(batch["own_share"], duplicates), 1 - batch["own_share"])
        if len(image_embeds) < self.tiled_from:
            fit, known = self.caption_fit(batch) if weight else (None, None)
            return self.contrastive(*pairs, fit, known, weight)
        fit = partial(self.caption_fit.tile, batch) if weight else None
        return self.tiled(*pairs, fit, weight, own=own_rows(len(image_embeds)))

    def _caption_matrix(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets (N, N) of images against captions and where they are known."""
        fit, known = self.caption_fit(batch)
        own = torch.eye(len(fit), dtype=torch.bool, device=fit.device)
        if self.mask_duplicates:
            known = known & ~duplicate_mask(batch["group_ids"])
        return fit.masked_fill(own, 1.0), known | own

    def target_matrix(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """What images and texts of a whole batch are trained towards: targets (N, M) and where they are known."""
        return self._caption_matrix(batch) if self.findings is None else self.findings.targets(batch)

    def _distil(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        name_embeds: torch.Tensor | None,
        batch: dict[str, torch.Tensor],
        scale: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        log_scale = self.distillation.log_scale
        own_scale = scale if log_scale is None else self._bounded(log_scale)
        if self.findings is not None:
            filled = batch["text_ids"] >= 0
            if not filled.any():
                return sum((weight.sum() for weight in self.distillation.parameters()), start=scale) * 0.0, {}
            batch = {**batch, "group_ids": batch["text_ids"][filled][:, None]}
            if "knowledge_embeds" in batch:
                batch["knowledge_embeds"] = batch["knowledge_embeds"][filled]
        return self.distillation(image_embeds, text_embeds, name_embeds, batch, scale=scale, own_scale=own_scale)

    def _bounded(self, log_scale: torch.Tensor) -> torch.Tensor:
        return log_scale.clamp(max=math.log(self.model.config.max_logit_scale)).exp()
