"""The texts of findings that Stage 2 trains on, by the knowledge book and template that inference uses too."""

import logging
from collections.abc import Callable
from functools import cache, partial

import numpy as np
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

Rewrite = Callable[[Finding, int, int, int], str]  # finding, epoch, row, slot -> its text


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

    prompt = _prompt_of(book, tokenizer, max_length)

    @cache
    def text_of(category: str, hpo_id: str | None, severity: str | None, location: str | None) -> str:
        return prompt(category, hpo_id=hpo_id, severity=severity, location=location)

    return lambda finding: text_of(**_said(finding, arguments))


def finding_rewriter(
    book: KnowledgeBook,
    arguments: MatchingArguments,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    seed: int,
) -> Rewrite | None:
    """A finding's text as one epoch has it: slots left out and names replaced by chance; None where nothing is.

    A function of seed, epoch, row and slot alone, so that every process, worker and resumed run writes the same.
    """
    if not (arguments.slot_dropout or arguments.synonym_probability):
        return None
    prompt = _prompt_of(book, tokenizer, max_length)

    def rewrite(finding: Finding, epoch: int, row: int, slot: int) -> str:
        return prompt(
            **_said(finding, arguments),
            rng=np.random.default_rng([seed, epoch, row, slot + 1]),  # with 0 it would be the stream of the image
            slot_dropout=arguments.slot_dropout,
            synonym_probability=arguments.synonym_probability,
        )

    return rewrite


def _prompt_of(book: KnowledgeBook, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Callable[..., str]:
    return partial(book.prompt, max_tokens=max_length, count_tokens=lambda text: len(tokenizer(text)["input_ids"]))


def _said(finding: Finding, arguments: MatchingArguments) -> dict[str, str | None]:
    """What the template takes of a finding."""
    names = ("hpo_id", "severity", "location") if arguments.fine_grained else ("hpo_id",)
    said = dict.fromkeys(("hpo_id", "severity", "location")) | {name: finding.get(name) for name in names}
    return {"category": finding["category"], **said}


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
