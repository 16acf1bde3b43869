"""Batch entries of the texts of rows that have several each: numbers, tokens or features, padded to equal slots."""

import numpy as np
import torch

from phenolip.train.collator import TextTokenizer
from phenolip.train.findings import FindingRows


class TextSlots:
    """Row numbers -> entries with one slot for each text that a row can have.

    Every row has the same number of slots, on every process, so that entries can be gathered as they are.

    Args:
        findings: Texts of every row.
        features: Entry -> what each distinct text has of it, (U, D) float32.
        tokenize: Tokeniser of the texts; None where `features` holds text_pooled.

    Shapes of the entries (n rows, K slots, L tokens, D widths): text_ids, category_ids (n, K), absent_ids (n, A),
        uncertain_ids (n, U), -1 where there is none; features (n, K, D), zeros in empty slots; text_input_ids and
        text_attention_mask (n, K, L), an empty text in empty slots.
    """

    def __init__(
        self, findings: FindingRows, features: dict[str, np.ndarray], *, tokenize: TextTokenizer | None = None
    ) -> None:
        self.findings, self.features, self.tokenize = findings, features, tokenize

    def __call__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        names = ("text_ids", "category_ids", "absent_ids", "uncertain_ids")
        batch = {name: torch.from_numpy(getattr(self.findings, name)[rows]) for name in names}
        ids = self.findings.text_ids[rows]
        for name, column in self.features.items():
            values = column[ids.clip(min=0)]  # (n, K, D)
            batch[name] = torch.from_numpy(np.where(ids[:, :, None] >= 0, values, np.float32(0)))
        if self.tokenize is not None:
            tokens = self.tokenize([self.findings.texts[text] if text >= 0 else "" for text in ids.ravel()])
            batch |= {f"text_{name}": tensor.view(*ids.shape, -1) for name, tensor in tokens.items()}
        return batch
