"""Settings of MedFILIP's supervision in Stage 2: which texts, which targets, which matching loss."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from phenolip.train.arguments import require, setting
from phenolip.train.loop import LATER_FIXED_SETTINGS
from phenolip.train.losses.tiled_contrastive import TILED_FROM
from phenolip.train.streaming import SHUFFLE_BUFFER


@dataclass
class MatchingArguments:
    """Texts of single findings, targets by their likeness, and image-text matching (MedFILIP, arXiv 2501.10775)."""

    text_unit: Literal["report", "entity"] = setting(
        "report", help="Texts of an image: report = its caption; entity = one for each finding of its row."
    )
    fine_grained: bool = setting(False, help="Texts of findings say severity and location too; needs entity.")
    knowledge: Literal["none", "flat", "hpo"] = setting(
        "none",
        help="Texts of findings say what the finding is, by a file of categories (flat) or by the ontology and our "
        "list of visual explanations (hpo); needs entity.",
    )
    knowledge_file: str | None = setting(
        None, help="JSON or YAML, name or HPO id -> explanation: all of `knowledge: flat`, comes first in `hpo`."
    )
    slot_dropout: float = setting(
        0.0,
        help="Chance that the severity, the location and the explanation of a finding's text are each left out, drawn "
        "anew in every epoch; targets and teacher keep the whole text. Needs entity.",
    )
    synonym_probability: float = setting(
        0.0, help="Chance that a finding's text has an exact synonym of the name, drawn likewise. Needs entity."
    )
    max_findings: int = setting(8, help="Most findings of an image that become texts.")
    contrastive_weight: float = setting(1.0, help="Of L_m, image against texts by softmax; 0 leaves it out.")
    matching_weight: float = setting(0.0, help="Of image-text matching with the target matrix; 0 leaves it out.")
    matching_mse: Literal["cosine", "logits", "none"] = setting(
        "cosine", help="Squared error of the cosine (MedFILIP's paper), of the scaled cosine (its code), or none."
    )
    matching_ce: Literal["bce", "soft_ce_sym", "soft_ce_row", "none"] = setting(
        "soft_ce_sym",
        help="Cross-entropy: bce = of each pair (MedFILIP's code); soft_ce_sym = over texts and over images (our "
        "reading of its paper); soft_ce_row = over texts; none.",
    )
    matching_target_norm: Literal["l1", "softmax", "none"] = setting(
        "l1", help="Targets of soft_ce_*: divided by their sum; their softmax (MedCLIP); none = as they are."
    )
    matching_target_temperature: float = setting(1.0, help="Divides targets before `matching_target_norm: softmax`.")
    local_weight: float = setting(
        0.0,
        help="Of GLoRIA's local term, words of a caption against regions of the image; needs report and towers that "
        "are trained; captions are then encoded together, without `chunk_size`.",
    )
    ssm_model: str | None = setting(
        None,
        help="Frozen text model of `targets: ssm`, Stage 1 folder, Hub id or folder; default `knowledge_encoder`.",
    )
    ssm_gate: Literal["none", "category", "hpo_ancestor"] = setting(
        "none",
        help="Pairs that `targets: ssm` takes for alike: all; of one category (MedFILIP's code); of one category or "
        "ancestor and descendant.",
    )
    ssm_calibration: Literal["none", "clamp", "affine"] = setting(
        "clamp", help="Of the cosine in `targets: ssm`: none; cut to [0, 1]; affine = mean of other texts becomes 0."
    )

    def _check_matching(self, targets: str, knowledge_encoder: str | None, caption_target_weight: float) -> None:
        """Ranges, and settings that others would make void."""
        for name in ("contrastive_weight", "matching_weight", "local_weight"):
            require(getattr(self, name) >= 0, name, "0 or above", getattr(self, name))
        require(self.max_findings >= 1, "max_findings", "1 or above", self.max_findings)
        temperature = self.matching_target_temperature
        require(temperature > 0, "matching_target_temperature", "above 0", temperature)
        entity, ssm = self.text_unit == "entity", targets == "ssm"
        require(entity or not self.fine_grained, "text_unit", "entity where `fine_grained` is on", self.text_unit)
        require(
            entity or self.knowledge == "none",
            "text_unit",
            f"entity for `knowledge: {self.knowledge}`",
            self.text_unit,
        )
        require(not entity or not self.local_weight, "local_weight", "0 for `text_unit: entity`", self.local_weight)
        for name in ("slot_dropout", "synonym_probability"):
            chance = getattr(self, name)
            require(0 <= chance <= 1, name, "from 0 to 1", chance)
            require(entity or not chance, name, "0 where `text_unit` is report", chance)
        file = self.knowledge_file
        require(self.knowledge != "flat" or bool(file), "knowledge_file", "given for `knowledge: flat`", file)
        require(self.knowledge != "none" or not file, "knowledge_file", "left out for `knowledge: none`", file)
        gate, model = self.ssm_gate, self.ssm_model
        require(entity or gate == "none", "ssm_gate", "none where `text_unit` is report (no categories)", gate)
        require(ssm or gate == "none", "ssm_gate", "none unless `targets` is ssm", gate)
        require(ssm or not model, "ssm_model", "left out unless `targets` is ssm", model)
        require(not ssm or bool(model or knowledge_encoder), "ssm_model", "given for `targets: ssm`", model)
        require(
            targets != "identity" or not caption_target_weight,
            "caption_target_weight",
            "0 where `targets` is identity",
            caption_target_weight,
        )
        is_void = self.matching_weight and self.matching_mse == self.matching_ce == "none"
        require(
            not is_void, "matching_weight", "0 where `matching_mse` and `matching_ce` are none", self.matching_weight
        )


#: Settings of Stage 2 that earlier runs did not have, with the defaults by which those are the same runs still.
LATER_SETTINGS = {
    **{entry.name: entry.default for entry in fields(MatchingArguments)},
    "grayscale": False,
    "cutmix": 0.0,
    "reduced_decoding": False,
    "streaming": False,
    "shuffle_buffer": SHUFFLE_BUFFER,
    "patch_dropout": 0.0,
    "torch_compile": "no",
    "init_from": None,
    "lora_rank": 0,
    "lora_alpha": 16.0,
    "lora_dropout": 0.0,
    "lora_targets": ["attention"],
    "use_dora": False,
    "contrastive": "softmax",
    "tiled_from": TILED_FROM,
    **LATER_FIXED_SETTINGS,
}


def without_later_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that identify a run: later ones only where they are used."""
    return {
        name: value for name, value in settings.items() if name not in LATER_SETTINGS or value != LATER_SETTINGS[name]
    }
