"""What extraction takes and gives: documents, findings, and what was left out of each document."""

from dataclasses import dataclass
from typing import Literal

from phenolip.phenokg.records import Assertion

Status = Literal["ok", "empty", "failed"]


@dataclass(frozen=True, slots=True)
class Document:
    """A report or caption; files call it by `doc_id` or by `uid`.

    Attributes:
        text: All of it.
        doc_id: Names it.
        uid: Names it where `doc_id` does not.
    """

    text: str
    doc_id: str | int | None = None
    uid: str | int | None = None

    @property
    def name(self) -> str:
        """What it is called; empty where the file says nothing."""
        given = self.doc_id if self.doc_id is not None else self.uid
        return "" if given is None else str(given)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a text says of one finding: severity, location and category, as MedFILIP (arXiv 2501.10775, eq. 1) has it.

    Attributes:
        category: Name of the finding, such as "pleural effusion".
        severity: How much, else how large, else since when: "mild", "mild to moderate", "small", "chronic"; None if
            the text does not say.
        location: Side and place, "left lower lobe", "bilateral basilar"; None if the text does not say.
        assertion: Whether the text says that the patient has it.
        hpo_id: Of the ontology's term for the category; None if there is none.
        modifiers: Ids of the ontology's modifiers that the words around it name.
        start: First character of the words that name the category; None where a model gave no place.
        end: One past the last.
    """

    category: str
    severity: str | None = None
    location: str | None = None
    assertion: Assertion = "present"
    hpo_id: str | None = None
    modifiers: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class DropCount:
    """How many findings or slots were left out, or set right, for one reason."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class ExtractionResult:
    """The findings of a document.

    Attributes:
        doc_id: Of the document.
        findings: In reading order.
        status: "ok"; "empty" where the text names no finding; "failed" where the back end gave nothing usable.
        dropped: What was left out of it, by reason.
        extractor: Back end and version, such as "rules-1".
        key: Hash of text, back end, version and prompt: equal keys have equal findings.
        prompt_version: Of a language model's prompt; None for rules.
    """

    doc_id: str
    findings: tuple[Finding, ...]
    status: Status
    dropped: tuple[DropCount, ...] = ()
    extractor: str = ""
    key: str = ""
    prompt_version: str | None = None
