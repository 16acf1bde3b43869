"""Batch entries of the texts of rows that have several each: numbers, tokens or features, padded to equal slots."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from phenolip.train.collator import TextTokenizer
from phenolip.train.findings import Finding, FindingRows


class TextSlots:
    """Row numbers -> entries with one slot for each text that a row can have.

    Every row has the same number of slots, on every process, so that entries can be gathered as they are.

    Args:
        findings: Texts of every row.
        features: Entry -> what each distinct text has of it, (U, D) float32.
        tokenize: Tokeniser of the texts; None where `features` holds text_pooled.
        rewrite: Finding, epoch, row, slot -> the text that this epoch reads instead; numbers and features stay.

    Shapes of the entries (n rows, K slots, L tokens, D widths): text_ids, category_ids (n, K), absent_ids (n, A),
        uncertain_ids (n, U), -1 where there is none; features (n, K, D), zeros in empty slots; text_input_ids and
        text_attention_mask (n, K, L), an empty text in empty slots.
    """

    def __init__(
        self,
        findings: FindingRows,
        features: dict[str, np.ndarray],
        *,
        tokenize: TextTokenizer | None = None,
        rewrite: Callable[[Finding, int, int, int], str] | None = None,
    ) -> None:
        self.findings, self.features, self.tokenize, self.rewrite = findings, features, tokenize, rewrite

    def __call__(self, rows: list[int], epochs: Sequence[int] | None = None) -> dict[str, torch.Tensor]:
        """Entries of some rows; `epochs` says when each is read, and is needed for `rewrite`."""
        names = ("text_ids", "category_ids", "absent_ids", "uncertain_ids")
        batch = {name: torch.from_numpy(getattr(self.findings, name)[rows]) for name in names}
        ids = self.findings.text_ids[rows]
        for name, column in self.features.items():
            values = column[ids.clip(min=0)]  # (n, K, D)
            batch[name] = torch.from_numpy(np.where(ids[:, :, None] >= 0, values, np.float32(0)))
        if self.tokenize is not None:
            tokens = self.tokenize(self._texts(ids, rows, epochs))
            batch |= {f"text_{name}": tensor.view(*ids.shape, -1) for name, tensor in tokens.items()}
        return batch

    def _texts(self, ids: np.ndarray, rows: list[int], epochs: Sequence[int] | None) -> list[str]:
        """The text of each slot, row by row; empty in empty slots."""
        if self.rewrite is None or epochs is None:
            return [self.findings.texts[text] if text >= 0 else "" for text in ids.ravel()]
        return [
            self.rewrite(self.findings.sources[text], epoch, row, slot) if text >= 0 else ""
            for own, row, epoch in zip(ids, rows, epochs, strict=True)
            for slot, text in enumerate(own)
        ]
