"""What a Stage 2 batch holds beside images: captions and names (tokens or cached features), teacher, targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.phenotype_targets import PhenotypeTargets
from phenolip.train.teacher import TextFeatureStore, encode_texts, load_teacher, module_fingerprint


@dataclass
class PairInputs:
    """Collator of the rows and the width of the teacher's embeddings.

    Attributes:
        collate: Samples -> batch for `ImageTextObjective`.
        knowledge_dim: Width of the teacher's embeddings; 0 without one.
        knowledge_fingerprint: Hash of the teacher's weights; empty without one.
    """

    collate: PairCollator
    knowledge_dim: int
    knowledge_fingerprint: str


def build_pair_inputs(
    model: PhenoLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    *,
    names: Sequence[str],
    targets: PhenotypeTargets | None,
    student_names: bool,
    teacher_names: bool,
    teacher_captions: bool,
    teacher_path: str | None,
    freeze_text: bool,
    max_length: int,
    cache_dir: Path,
) -> PairInputs:
    """Encodes once what stays the same over the run, and tokenises the rest.

    Args:
        model: On the device that encodes.
        tokenizer: Of its text tower.
        rows: Table from `load_pairs`.
        names: Names of the candidate phenotypes, in the order of the targets' columns.
        targets: Which candidates each row shows; None where no loss looks at phenotypes.
        student_names: The student's text tower reads the names too.
        teacher_names: The teacher's embeddings of the names are needed.
        teacher_captions: Those of the captions are.
        teacher_path: Stage 1 folder, or None.
        freeze_text: The text tower is not trained, so that its outputs are constants too.
        max_length: Longest caption in tokens.
        cache_dir: Where the features of frozen encoders are kept.
    """
    captions = list(rows["caption"])
    columns: dict[str, np.ndarray] = {"group_ids": duplicate_groups(captions, rows["sha256"], rows["group_id"])}
    constants: dict[str, torch.Tensor] = {}
    tokenize = TextTokenizer(tokenizer, max_length)
    knowledge_dim, fingerprint = 0, ""
    if teacher_path is not None:
        teacher, teacher_tokenize = load_teacher(teacher_path, max_length)
        teacher.to(next(model.parameters()).device)
        store = _store(cache_dir, teacher, teacher_tokenize, "text_embeds", "teacher")
        if teacher_captions:
            columns["knowledge_embeds"] = store.features(captions)
        if teacher_names:
            constants["knowledge_names"] = torch.from_numpy(store.features(names))
        knowledge_dim = teacher.config.projection_dim
        fingerprint = module_fingerprint(teacher)
    if freeze_text:
        store = _store(cache_dir, model.text_model, tokenize, "pooler_output", "frozen text tower")
        columns["caption_pooled"] = store.features(captions)
        if student_names:
            constants["name_pooled"] = torch.from_numpy(store.features(names))
        return PairInputs(PairCollator(columns, targets=targets, constants=constants), knowledge_dim, fingerprint)
    if student_names:
        constants |= {f"name_{key}": tensor for key, tensor in tokenize(list(names)).items()}
    collate = PairCollator(columns, targets=targets, captions=captions, tokenize=tokenize, constants=constants)
    return PairInputs(collate, knowledge_dim, fingerprint)


def _store(
    cache_dir: Path, encoder: torch.nn.Module, tokenize: TextTokenizer, field: str, description: str
) -> TextFeatureStore:
    # The projection of a student changes with training; its pooled features depend on the tower alone.
    weights = encoder if field == "text_embeds" else encoder.tower
    folder = cache_dir / f"{field}-{module_fingerprint(weights)}-{tokenize.max_length}"
    return TextFeatureStore(
        folder, lambda texts: encode_texts(encoder, tokenize, texts, field=field, description=description)
    )
