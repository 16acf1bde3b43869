"""What a batch of a stream holds beside images: made of the batch's own records, since there is no table."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.near_copies import fold_caption
from phenolip.train.collator import TextTokenizer, stack_images
from phenolip.train.pair_inputs import PairInputs, TextNeeds, feature_store
from phenolip.train.targets.phenotype_targets import PhenotypeTargets
from phenolip.train.teacher import load_teacher, module_fingerprint


class StreamCollator:
    """Samples of `StreamedPairs` -> the batch that `ImageTextObjective` takes.

    Entries are those of `PairCollator`, but for the teacher: its tokens (teacher_input_ids, teacher_attention_mask)
    stand in place of its stored embeddings.

    Args:
        tokenize: Tokeniser of the captions.
        teacher_tokenize: The teacher's; None where it reads no captions.
        targets: Of all phenotypes of the data; None where no loss looks at them.
        constants: Tensors that go into every batch as they are.
    """

    def __init__(
        self,
        tokenize: TextTokenizer,
        *,
        teacher_tokenize: TextTokenizer | None = None,
        targets: PhenotypeTargets | None = None,
        constants: dict[str, torch.Tensor] | None = None,
    ) -> None:
        self.tokenizers = {"caption": tokenize}
        if teacher_tokenize is not None:
            self.tokenizers["teacher"] = teacher_tokenize
        self.targets, self.constants = targets, constants or {}

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = {**self.constants, **stack_images(samples), "group_ids": torch.from_numpy(stable_groups(samples))}
        if self.targets is not None:
            batch |= self.targets.of_labels([sample["hpo_ids"] or [] for sample in samples])
        captions = [sample["caption"] for sample in samples]
        for name, tokenize in self.tokenizers.items():
            batch |= {f"{name}_{key}": tensor for key, tensor in tokenize(captions).items()}
        return batch


def stable_groups(samples: Sequence[dict[str, Any]]) -> np.ndarray:
    """Group numbers as `duplicate_groups` gives them, of samples that come from anywhere: hashes instead of ranks.

    Equal on all processes and in all parts of a batch; two different texts share one of the 2**64 by chance only.

    Returns:
        (n, 3) int64, columns caption, image and group.
    """
    keys = [
        (fold_caption(sample["caption"]), sample["sha256"], sample["group_id"] or f"\0{sample['row']}")
        for sample in samples
    ]
    return np.array([[_hash(text) for text in row] for row in keys], dtype=np.int64)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def build_stream_inputs(
    model: PhenoLIPModel, tokenizer: PreTrainedTokenizerBase, needs: TextNeeds, *, cache_dir: Path
) -> PairInputs:
    """As `build_pair_inputs`: names are encoded once, captions by the teacher in each step."""
    tokenize = TextTokenizer(tokenizer, needs.max_length)
    constants: dict[str, torch.Tensor] = {}
    teacher = teacher_tokenize = None
    knowledge_dim, fingerprint = 0, ""
    if needs.teacher_path is not None:
        teacher, teacher_tokenize = load_teacher(needs.teacher_path, needs.max_length)
        teacher.to(next(model.parameters()).device)
        if needs.teacher_names:
            store = feature_store(cache_dir, teacher, teacher_tokenize, "text_embeds", "teacher")
            constants["knowledge_names"] = torch.from_numpy(store.features(needs.names))
        knowledge_dim, fingerprint = teacher.config.projection_dim, module_fingerprint(teacher)
    if needs.student_names:
        constants |= {f"name_{key}": tensor for key, tensor in tokenize(list(needs.names)).items()}
    collate = StreamCollator(
        tokenize,
        teacher_tokenize=teacher_tokenize if needs.teacher_captions else None,
        targets=needs.targets,
        constants=constants,
    )
    return PairInputs(collate, knowledge_dim, fingerprint, teacher=teacher if needs.teacher_captions else None)
