"""What the frozen teacher gives: the forms of distillation behind one interface, and the way into its space."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from phenolip.train.gather import own_rows, through_own_rows
from phenolip.train.losses.cosine import CosineLoss
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss
from phenolip.train.losses.relational import RelationalLoss
from phenolip.train.losses.response import ResponseLoss
from phenolip.train.losses.tiled_contrastive import TILED_FROM, TiledContrastiveLoss

FORMS = {
    "contrastive": "caption against the teacher's embedding of it, the other captions as negatives (the paper's L_kd)",
    "cosine": "caption towards the teacher's embedding of it, without negatives",
    "relational": "image-caption similarities of a batch follow those of its captions in the teacher's space",
    "anchors": "image against the teacher's embeddings of all training phenotypes, its own as targets",
    "responses": "image's softmax over phenotypes follows the teacher's for its caption; rows need no labels",
    "names": "each phenotype's name against the teacher's embedding of it, the other names as negatives",
}
NAME_FORMS = frozenset({"anchors", "responses", "names"})  # those that need the teacher's view of phenotypes' names
IMAGE_FORMS = frozenset({"relational", "anchors", "responses"})  # those that look at images
CAPTION_FORMS = frozenset({"contrastive", "cosine", "relational", "responses"})  # and those that need it of captions


class KnowledgeDistillation(nn.Module):
    """Weighted forms of distillation from one frozen teacher.

    The student meets the teacher in the teacher's space: through one linear projection for images, captions and names
    where the widths differ, else directly.

    Args:
        forms: Name -> weight, of `FORMS`.
        width: Width of the student's embeddings.
        knowledge_dim: Width of the teacher's.
        log_scale: Initial logarithm of the inverse temperature, or None to share the student's (KEP).
        tiled_from: Rows from which on `contrastive` is computed tile by tile.

    Source: `contrastive` is PhenoLIP's (arXiv 2602.06184), the projection where widths differ KEP's; the other forms
        and their combination are ours.
    """

    def __init__(
        self,
        forms: Mapping[str, float],
        *,
        width: int,
        knowledge_dim: int,
        log_scale: float | None,
        tiled_from: int = TILED_FROM,
    ) -> None:
        super().__init__()
        self.forms, self.tiled_from = dict(forms), tiled_from
        # Cosine has no temperature; relational compares L_m's own similarities.
        needs_scale = not forms.keys() <= {"cosine", "relational"}
        own_scale = log_scale is not None and needs_scale
        self.log_scale = nn.Parameter(torch.tensor(float(log_scale))) if own_scale else None
        needs_space = not forms.keys() <= {"relational"}
        if needs_space and width != knowledge_dim:
            self.projection = nn.Linear(width, knowledge_dim, bias=False)
            nn.init.normal_(self.projection.weight, std=width**-0.5)
        else:
            self.projection = nn.Identity()
        self.contrastive, self.tiled, self.cosine = PairedContrastiveLoss(), TiledContrastiveLoss(), CosineLoss()
        self.relational, self.anchors, self.responses = RelationalLoss(), PhenotypeNameLoss(), ResponseLoss()

    def forward(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        name_embeds: torch.Tensor | None,
        batch: Mapping[str, torch.Tensor],
        *,
        scale: torch.Tensor,
        own_scale: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum of the forms, and each of them.

        Args:
            image_embeds, text_embeds: Of the whole batch.
            name_embeds: Of the candidate phenotypes; needed by `names`.
            batch: Entries of the whole batch: group_ids (N, G), and where the form needs them knowledge_embeds (N, K),
                knowledge_names (C, K), labels or label_values (N, C), label_valid (N, C).
            scale: The student's inverse temperature.
            own_scale: That of all forms but `cosine` and `relational`; `scale` again where it is shared.

        Shapes (N rows, C candidates, D width, K teacher's width): image_embeds, text_embeds (N, D), name_embeds
            (C, D); returns scalars in nats (cosine: no unit).
        """
        losses: dict[str, torch.Tensor] = {}
        for form in self.forms:
            if form == "contrastive":
                losses[form] = self._contrast(text_embeds, batch, own_scale)
            elif form == "cosine":
                losses[form] = self.cosine(self._to_teacher(text_embeds), batch["knowledge_embeds"])
            elif form == "relational":
                losses[form] = self.relational(image_embeds, text_embeds, batch["knowledge_embeds"], scale)
            elif form == "anchors":
                values, valid = batch.get("label_values", batch["labels"]), batch.get("label_valid")
                student = self._to_teacher(image_embeds)
                losses[form] = self.anchors(student, batch["knowledge_names"], own_scale, values, valid)
            elif form == "responses":
                student = self._to_teacher(image_embeds)
                losses[form] = self.responses(student, batch["knowledge_embeds"], batch["knowledge_names"], own_scale)
            else:
                losses[form] = self.contrastive(self._to_teacher(name_embeds), batch["knowledge_names"], own_scale)
        total = sum(self.forms[form] * loss for form, loss in losses.items())
        return total, losses

    def _contrast(
        self, text_embeds: torch.Tensor, batch: Mapping[str, torch.Tensor], scale: torch.Tensor
    ) -> torch.Tensor:
        others = (batch["knowledge_embeds"], scale, batch["group_ids"][:, :1])
        if len(text_embeds) < self.tiled_from:
            return self.contrastive(self._to_teacher(text_embeds), *others)
        student = through_own_rows(self._to_teacher, text_embeds)
        return self.tiled(student, *others, own=own_rows(len(text_embeds)))

    def _to_teacher(self, embeds: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.projection(embeds), dim=-1)
