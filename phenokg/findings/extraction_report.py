"""What an extraction gave: counts of documents, findings and of what was left out; tokens and cost of a model."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.findings.ask_findings import conversation_of
from phenolip.phenokg.findings.finding_records import Document, ExtractionResult

_CHARACTERS_PER_TOKEN = 4.0  # of English, in the tokenizers of today's models
_ANSWER_TOKENS_PER_FINDING, _ANSWER_TOKENS = 60, 10  # of our schema
_EXPECTED_FINDINGS = 6  # of a report, before it was read


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs.

    Attributes:
        tokens_in: Of a million tokens that it reads, in any currency.
        tokens_out: Of a million that it writes.
    """

    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def __post_init__(self) -> None:
        if not (self.tokens_in >= 0 and self.tokens_out >= 0):
            raise ConfigurationError("`price_in` and `price_out` must be 0 or more.")


class YieldReport:
    """Counts, as results come in.

    Args:
        asks_model: Whether a language model reads the documents.
        prices: Of the model.
    """

    def __init__(self, *, asks_model: bool, prices: Prices) -> None:
        self._asks_model, self._prices = asks_model, prices
        self._statuses: Counter[str] = Counter()
        self._assertions: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._num_findings = self._num_kept = self._num_bad = 0
        self._characters_in = self._tokens_out = 0.0

    def add(self, document: Document, result: ExtractionResult, *, was_kept: bool) -> None:
        """Counts a document; one that was kept of an earlier run costs nothing."""
        self._statuses[result.status] += 1
        self._num_kept += was_kept
        self._num_findings += len(result.findings)
        self._assertions.update(finding.assertion for finding in result.findings)
        for each in result.dropped:
            self._dropped[each.reason] += each.count
        if self._asks_model and not was_kept and document.text.strip():
            self._characters_in += _num_characters(document.text)
            self._tokens_out += _ANSWER_TOKENS + _ANSWER_TOKENS_PER_FINDING * len(result.findings)

    def add_bad_line(self) -> None:
        """Counts a line of the input that is no document."""
        self._num_bad += 1

    def as_json(self) -> dict[str, Any]:
        """Everything that was counted."""
        num_documents = self._statuses.total()
        return {
            "num_documents": num_documents,
            "num_ok": self._statuses["ok"],
            "num_empty": self._statuses["empty"],
            "num_failed": self._statuses["failed"],
            "num_kept_of_earlier_runs": self._num_kept,
            "num_bad_lines": self._num_bad,
            "num_findings": self._num_findings,
            "findings_per_document": round(self._num_findings / num_documents, 3) if num_documents else 0.0,
            "assertions": dict(self._assertions.most_common()),
            "dropped": dict(self._dropped.most_common()),
            **_costs(self._characters_in, self._tokens_out, self._prices),
        }


def estimate(documents: Iterable[Document], *, asks_model: bool, prices: Prices) -> dict[str, Any]:
    """What an extraction would cost, without doing it; equal texts are asked about once."""
    texts = [document.text for document in documents]
    asked = {text for text in texts if text.strip()} if asks_model else set()
    tokens_out = len(asked) * (_ANSWER_TOKENS + _EXPECTED_FINDINGS * _ANSWER_TOKENS_PER_FINDING)
    characters_in = sum(map(_num_characters, asked))
    return {"num_documents": len(texts), "num_requests": len(asked), **_costs(characters_in, tokens_out, prices)}


def _num_characters(text: str) -> int:
    return sum(len(message.text) for message in conversation_of(text))


def _costs(characters_in: float, tokens_out: float, prices: Prices) -> dict[str, float]:
    """Estimates: the model's own count is known to the model alone."""
    tokens_in = characters_in / _CHARACTERS_PER_TOKEN
    cost = (tokens_in * prices.tokens_in + tokens_out * prices.tokens_out) / 1e6
    return {
        "estimated_tokens_in": round(tokens_in),
        "estimated_tokens_out": round(tokens_out),
        "estimated_cost": round(cost, 4),
    }
