"""Samples of one batch -> tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase


class TextTokenizer:
    """Tokenises texts, padded on the right to the longest of the batch and cut at `max_length` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    def __call__(self, texts: list[str]) -> dict[str, torch.Tensor]:
        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt", padding_side="right"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


class ConceptCollator:
    """Stage 1: samples of `ConceptTexts` -> input_ids and attention_mask (n, L), concept_ids (n,)."""

    def __init__(self, tokenize: TextTokenizer) -> None:
        self.tokenize = tokenize

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.tokenize([text for sample in samples for text in sample["texts"]])
        ids = [sample["concept_id"] for sample in samples for _ in sample["texts"]]
        return {**batch, "concept_ids": torch.tensor(ids)}


class PairCollator:
    """Stage 2: samples of `ImageTextPairs` -> the batch that `ImageTextObjective` takes.

    Args:
        columns: Name -> one entry per row of the data, such as group_ids (N, G) or knowledge_embeds (N, D).
        targets: Row numbers -> labels (n, C) and what goes with them; None where no loss looks at phenotypes.
        captions: Caption of every row, tokenised here; None where `columns` holds caption_pooled.
        tokenize: Tokeniser of the captions.
        constants: Tensors that go into every batch as they are, such as name_pooled (C, D).
        slots: Row numbers and, where texts change with it, epochs -> entries of the texts of findings; None where
            captions are trained on.

    Samples of `ImageTextPairs` give pixels (n, 3, S, S), those of `CachedViews` image_pooled (n, D).
    """

    def __init__(
        self,
        columns: dict[str, np.ndarray],
        *,
        targets: Callable[[list[int]], dict[str, torch.Tensor]] | None = None,
        captions: list[str] | None = None,
        tokenize: TextTokenizer | None = None,
        constants: dict[str, torch.Tensor] | None = None,
        slots: Callable[..., dict[str, torch.Tensor]] | None = None,
    ) -> None:
        self.slots = slots
        self.columns, self.targets, self.captions = columns, targets, captions
        self.tokenize, self.constants = tokenize, constants or {}

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        epochs = [sample["epoch"] for sample in samples] if "epoch" in samples[0] else None
        return {**stack_images(samples), **self.without_images([sample["row"] for sample in samples], epochs)}

    def without_images(self, rows: list[int], epochs: list[int] | None = None) -> dict[str, torch.Tensor]:
        """All entries of some rows but their images; without `epochs` the texts of findings are whole."""
        batch = dict(self.constants)
        batch |= {name: torch.from_numpy(np.asarray(column[rows])) for name, column in self.columns.items()}
        if self.targets is not None:
            batch |= self.targets(rows)
        if self.slots is not None:
            batch |= self.slots(rows, epochs)
        if self.captions is not None:
            tokens = self.tokenize([self.captions[row] for row in rows])
            batch |= {f"caption_{name}": tensor for name, tensor in tokens.items()}
        return batch


def stack_images(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Images of samples, or their stored features, as one tensor: pixels (n, 3, S, S) or image_pooled (n, D)."""
    if "image_pooled" in samples[0]:
        return {"image_pooled": torch.from_numpy(np.stack([sample["image_pooled"] for sample in samples]))}
    return {"pixels": torch.from_numpy(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2)}
