"""The texts of findings that Stage 2 trains on, by the knowledge book and template that inference uses too."""

import logging
from collections.abc import Callable
from functools import cache

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.knowledge_book import SOURCES, KnowledgeBook
from phenolip.ontology.overlays import read_overlay
from phenolip.train.findings import Finding, FindingRows, number_findings
from phenolip.train.matching_arguments import MatchingArguments

logger = logging.getLogger(__name__)


def load_book(ontology: PhenotypeOntology, arguments: MatchingArguments) -> KnowledgeBook:
    """The book that `knowledge` asks for; without explanations it still knows how findings are called."""
    overlay = read_overlay(arguments.knowledge_file) if arguments.knowledge_file else None
    sources = {"none": (), "flat": ("user",), "hpo": SOURCES}[arguments.knowledge]
    return build_knowledge_book(ontology, overlay, sources=sources)


def finding_writer(
    book: KnowledgeBook, arguments: MatchingArguments, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Callable[[Finding], str]:
    """Finding -> its text: the term's name or the category, with what the settings add, within the text tower's limit.

    Args:
        book: Names and explanations.
        arguments: `fine_grained` adds severity and location; what the finding is comes with the book.
        tokenizer: Of the text tower.
        max_length: Longest text in tokens; the explanation is cut, never what stands before it.
    """

    @cache
    def text_of(category: str, hpo_id: str | None, severity: str | None, location: str | None) -> str:
        return book.prompt(
            category,
            hpo_id=hpo_id,
            severity=severity,
            location=location,
            max_tokens=max_length,
            count_tokens=lambda text: len(tokenizer(text)["input_ids"]),
        )

    def write(finding: Finding) -> str:
        slots = (finding.get("severity"), finding.get("location")) if arguments.fine_grained else (None, None)
        return text_of(finding["category"], finding.get("hpo_id"), *slots)

    return write


def build_finding_rows(rows: Dataset, write: Callable[[Finding], str], arguments: MatchingArguments) -> FindingRows:
    """Texts and categories of all rows; says how many findings were left out and why.

    Raises:
        ConfigurationError: No row has a present finding.
    """
    findings = number_findings(list(rows["findings"]), write, max_findings=arguments.max_findings)
    num_with = int((findings.text_ids[:, 0] >= 0).sum())
    if not num_with:
        raise ConfigurationError(
            "`text_unit: entity` needs rows with findings that are present, got none; add the column `findings` with "
            "`phenolip extract` or set `text_unit: report`."
        )
    logger.info(
        "%d of %d rows have findings: %d texts, %d categories; left out: %s.",
        num_with,
        len(rows),
        len(findings.texts),
        len(findings.categories),
        ", ".join(f"{count} {reason}" for reason, count in findings.dropped.items()) or "none",
    )
    return findings
