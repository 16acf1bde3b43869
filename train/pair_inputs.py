"""What a Stage 2 batch holds beside images: texts and names (tokens or cached features), teacher, targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.findings import Finding, FindingRows
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.phenotype_targets import PhenotypeTargets
from phenolip.train.teacher import encode_texts, load_teacher, load_text_model, module_fingerprint
from phenolip.train.text_feature_store import TextFeatureStore
from phenolip.train.text_slots import TextSlots


@dataclass
class PairInputs:
    """Collator of the rows and the width of the teacher's embeddings.

    Attributes:
        collate: Samples -> batch for `ImageTextObjective`.
        knowledge_dim: Width of the teacher's embeddings; 0 without one.
        knowledge_fingerprint: Hash of the teacher's weights; empty without one.
        target_embeds: (U, T) of the distinct texts by the model that compares them; None where none does.
        target_fingerprint: Hash of that model's weights; empty likewise.
        teacher: Reads the captions of a stream in each step; None where its embeddings are in the batch.
    """

    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    knowledge_dim: int
    knowledge_fingerprint: str
    target_embeds: np.ndarray | None = None
    target_fingerprint: str = ""
    teacher: torch.nn.Module | None = None


@dataclass(frozen=True)
class TextNeeds:
    """Which texts and embeddings the losses look at, of a table and of a stream alike.

    Attributes:
        targets: Which candidates each row shows; None where no loss looks at phenotypes.
        names: Names of the candidate phenotypes, in the order of the targets' columns.
        student_names: The student's text tower reads the names too.
        teacher_names: The teacher's embeddings of the names are needed.
        teacher_captions: Those of the captions are.
        teacher_path: Stage 1 folder, or None.
        max_length: Longest text in tokens.
    """

    targets: PhenotypeTargets | None
    names: Sequence[str]
    student_names: bool
    teacher_names: bool
    teacher_captions: bool
    teacher_path: str | None
    max_length: int


def build_pair_inputs(
    model: PhenoLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    needs: TextNeeds,
    *,
    freeze_text: bool,
    cache_dir: Path,
    findings: FindingRows | None = None,
    target_path: str | None = None,
    rewrite: Callable[[Finding, int, int, int], str] | None = None,
) -> PairInputs:
    """Encodes once what stays the same over the run, and tokenises the rest.

    Args:
        model: On the device that encodes.
        tokenizer: Of its text tower.
        rows: Table from `load_pairs`.
        needs: What the losses look at.
        freeze_text: The text tower is not trained, so that its outputs are constants too.
        cache_dir: Where the features of frozen encoders are kept.
        findings: Texts of each row in place of its caption; None trains on captions.
        target_path: Text model whose likeness of texts is a target, or None.
        rewrite: Of `TextSlots`, for a text tower that is trained.
    """
    captions = list(rows["caption"])
    groups = duplicate_groups(captions, rows["sha256"], rows["group_id"])
    texts = captions if findings is None else findings.texts
    features: dict[str, np.ndarray] = {}  # of `texts`
    constants: dict[str, torch.Tensor] = {}
    tokenize = TextTokenizer(tokenizer, needs.max_length)
    device = next(model.parameters()).device
    knowledge_dim, fingerprint, target_fingerprint = 0, "", ""
    if needs.teacher_path is not None:
        teacher, teacher_tokenize = load_teacher(needs.teacher_path, needs.max_length)
        store = feature_store(cache_dir, teacher.to(device), teacher_tokenize, "text_embeds", "teacher")
        if needs.teacher_captions:
            features["knowledge_embeds"] = store.features(texts)
        if needs.teacher_names:
            constants["knowledge_names"] = torch.from_numpy(store.features(needs.names))
        knowledge_dim = teacher.config.projection_dim
        fingerprint = module_fingerprint(teacher)
    if target_path is not None:
        judge, judge_tokenize = load_text_model(target_path, needs.max_length)
        store = feature_store(cache_dir, judge.to(device), judge_tokenize, "text_embeds", "texts for targets")
        features["target_embeds"] = store.features(texts)
        target_fingerprint = module_fingerprint(judge)
    if freeze_text:
        store = feature_store(cache_dir, model.text_model, tokenize, "pooler_output", "frozen text tower")
        features["caption_pooled" if findings is None else "text_pooled"] = store.features(texts)
        if needs.student_names:
            constants["name_pooled"] = torch.from_numpy(store.features(needs.names))
    elif needs.student_names:
        constants |= {f"name_{key}": tensor for key, tensor in tokenize(list(needs.names)).items()}
    reads = None if freeze_text else tokenize
    if findings is None:
        collate = PairCollator(
            {"group_ids": groups, **features},
            targets=needs.targets,
            captions=None if freeze_text else captions,
            tokenize=reads,
            constants=constants,
        )
    else:
        slots = TextSlots(findings, features, tokenize=reads, rewrite=rewrite)
        collate = PairCollator({"group_ids": groups}, targets=needs.targets, constants=constants, slots=slots)
    return PairInputs(collate, knowledge_dim, fingerprint, features.get("target_embeds"), target_fingerprint)


def feature_store(
    cache_dir: Path, encoder: torch.nn.Module, tokenize: TextTokenizer, field: str, description: str
) -> TextFeatureStore:
    """Features of a frozen encoder, under a hash of its weights."""
    # The projection of a student changes with training; its pooled features depend on the tower alone.
    weights = encoder if field == "text_embeds" else encoder.tower
    folder = cache_dir / f"{field}-{module_fingerprint(weights)}-{tokenize.max_length}"
    return TextFeatureStore(
        folder, lambda texts: encode_texts(encoder, tokenize, texts, field=field, description=description)
    )
