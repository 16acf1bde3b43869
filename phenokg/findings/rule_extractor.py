"""Findings of a text by rules, without a model: nothing leaves the machine.

The linker's matcher finds the categories, a list of modifiers and rules of scope fill the slots; what the text does
not say stays empty.
"""

from collections import Counter
from collections.abc import Sequence

from phenolip.ontology import PhenotypeOntology
from phenolip.phenokg.findings.finding_assertions import find_report_assertions
from phenolip.phenokg.findings.finding_lexicon import FindingKind, FindingLexicon, load_finding_lexicon
from phenolip.phenokg.findings.finding_modifiers import Modifier, ModifierLexicon
from phenolip.phenokg.findings.finding_records import Finding
from phenolip.phenokg.findings.finding_scopes import attach_modifiers
from phenolip.phenokg.findings.finding_slots import location_of, severity_of
from phenolip.phenokg.link_phenotypes import MIN_SCORE, most_specific
from phenolip.phenokg.linking.match_wordings import Mention, WordingMatcher
from phenolip.phenokg.linking.words import WORD, separator_of
from phenolip.phenokg.records import Assertion

#: Rises when the rules make other findings of the same text.
RULES_VERSION = 1

_SURE_SCORE = 0.9  # of the matcher: at most one word is inserted, or another form of the wording's
_DENIALS = frozenset(("no", "without"))
_CHEST = frozenset(
    """lung lungs chest pulmonary pleural thorax thoracic cardiopulmonary cardiomediastinal costophrenic hemidiaphragm
    mediastinum mediastinal hilar heart lobe lobes airspace pneumothorax pneumonia""".split()
)
_BOTH_SIDES = Modifier("side", "bilateral", "HP:0012832", is_implied=True)


class RuleExtractor:
    """Findings by rules; made once, used for many texts, in one thread at a time.

    Args:
        ontology: The release.
        min_score: Mentions below are left out, 0 to 1.

    Attributes:
        ontology_sha256: Of the release's file.

    Example:
        >>> from phenolip.ontology import load_ontology
        >>> (finding,), _ = RuleExtractor(load_ontology()).extract("There is a small effusion on the left.")
        >>> finding.severity, finding.location, finding.category, finding.assertion
        ('small', 'left', 'effusion', 'present')
    """

    def __init__(self, ontology: PhenotypeOntology, *, min_score: float = MIN_SCORE) -> None:
        self.ontology_sha256 = ontology.sha256
        self._lexicon: FindingLexicon = load_finding_lexicon(ontology)
        self._matcher = WordingMatcher(self._lexicon.lexicon, min_score)
        self._modifiers = ModifierLexicon(ontology)

    def extract(self, text: str) -> tuple[list[Finding], Counter[str]]:
        """The findings of a text in reading order, and what was left out, by reason."""
        worded, found = self._matcher.mentions(text)
        words = [word.lower() for word in worded.words]
        mentions = self._chosen(found, words)
        kinds = [self._lexicon.kind_of(mention.wording.hpo_id) for mention in mentions]
        if not mentions:
            return [], Counter()
        assertions = find_report_assertions(words, worded.kinds, [mention.places for mention in mentions], kinds)
        modifiers = self._modifiers.find(words, worded.kinds)
        attached = attach_modifiers(worded, words, mentions, kinds, modifiers)
        is_chest = not _CHEST.isdisjoint(words)
        findings = []
        for mention, kind, assertion, said in zip(mentions, kinds, assertions, attached, strict=True):
            if kind.is_finding:
                if kind.is_paired and any(words[place].endswith("s") for place in mention.places):
                    said = [*said, _BOTH_SIDES]
                start, end = worded.starts[mention.places[0]], worded.ends[mention.places[-1]]
                findings.append(_finding(kind, said, assertion, is_chest=is_chest, start=start, end=end))
        return without_duplicates(findings)

    def _chosen(self, found: Sequence[Mention], words: Sequence[str]) -> list[Mention]:
        """The mentions that count: of a doubtful one of the release and one of the list, that of the list."""
        listed = {place for mention in found if self._lexicon.is_listed(mention.wording) for place in mention.places}
        kept = []
        for mention in found:
            # "No lung" would be a wording of the ontology's agenesis; in a report it begins a denial.
            if words[mention.places[0]] in _DENIALS:
                continue
            is_sure = mention.score >= _SURE_SCORE or self._lexicon.is_listed(mention.wording)
            if is_sure or listed.isdisjoint(mention.places):
                kept.append(mention)
        return most_specific(kept)

    def modifiers_of(self, text: str) -> list[Modifier]:
        """What the words of a slot say, in their order."""
        pieces = WORD.split(text.lower())
        found = self._modifiers.find(pieces[1::2], [separator_of(gap) for gap in pieces[::2]])
        return [modifier for each in found for modifier in each.says]

    def finding(self, category: str, said: Sequence[Modifier], assertion: Assertion) -> Finding:
        """A finding that no list has, with its slots filled."""
        return _finding(FindingKind(category), said, assertion)


def without_duplicates(findings: Sequence[Finding]) -> tuple[list[Finding], Counter[str]]:
    """The findings, of those that say the same the first; and how many were left out."""
    kept: dict[tuple[str | None, ...], Finding] = {}
    for finding in findings:
        kept.setdefault((finding.category, finding.severity, finding.location, finding.assertion), finding)
    num_dropped = len(findings) - len(kept)
    return list(kept.values()), Counter(duplicate=num_dropped) if num_dropped else Counter()


def _finding(
    kind: FindingKind,
    said: Sequence[Modifier],
    assertion: Assertion,
    *,
    is_chest: bool = False,
    start: int | None = None,
    end: int | None = None,
) -> Finding:
    has_side = any(modifier.type == "side" and not modifier.is_implied for modifier in said)
    named = (modifier for modifier in said if not (modifier.is_implied and has_side))
    ids = dict.fromkeys(modifier.hpo_id for modifier in named if modifier.hpo_id is not None)
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
