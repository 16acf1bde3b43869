"""Findings from slots that somebody else filled, a language model or an imported file, brought to our words.

The slots are read as one phrase by the rules, which sets right what stands in the wrong slot ("left base" as a
severity), splits a category of two findings, finds the ontology's term and hears "no" and "possible". What the rules
do not know is kept or left out as the settings say; nothing goes without being counted.
"""

from collections import Counter
from dataclasses import replace
from typing import Literal, NamedTuple

from phenolip.phenokg.findings.brace_findings import Slots, fold
from phenolip.phenokg.findings.finding_records import Finding
from phenolip.phenokg.findings.rule_extractor import RuleExtractor
from phenolip.phenokg.records import Assertion

UnknownCategory = Literal["keep", "drop"]
UnknownSlot = Literal["null_slot", "keep", "drop"]

_DENIALS = frozenset(("no", "not", "without", "absent", "negative", "resolved", "denied"))
_DOUBTS = frozenset(("possible", "possibly", "probable", "probably", "likely", "suspected", "questionable", "may"))


class UnknownPolicy(NamedTuple):
    """What becomes of words that the lists do not have.

    Attributes:
        category: Of a category: kept as it is written, without id, or its finding left out.
        slot: Of severity and location: emptied, kept as written, or its finding left out.
    """

    category: UnknownCategory = "keep"
    slot: UnknownSlot = "null_slot"


def read_slots(
    slots: Slots, extractor: RuleExtractor, policy: UnknownPolicy, assertion: Assertion | None = None
) -> tuple[list[Finding], Counter[str]]:
    """The findings that three slots hold, without places, and what was left out or set right, by reason.

    Args:
        slots: As `read_braces` gives them.
        extractor: The rules.
        policy: What becomes of unknown words.
        assertion: What was said of the finding; None reads it from the slots.
    """
    counts: Counter[str] = Counter()
    phrase = " ".join(filter(None, (fold(part) for part in slots)))
    found, _ = extractor.extract(phrase)
    if not found:
        category = fold(slots.category)
        if category is None:
            return [], Counter(no_category=1)
        counts["unknown_category"] += 1
        if policy.category == "drop":
            return [], counts
        found = [_unknown(category, slots, extractor)]
    findings = []
    for finding in found:
        finding = replace(finding, start=None, end=None, assertion=assertion or finding.assertion)
        if (kept := _with_slots(finding, slots, extractor, policy, counts)) is not None:
            findings.append(kept)
    return findings, counts


def _unknown(category: str, slots: Slots, extractor: RuleExtractor) -> Finding:
    """A finding whose category the lists do not have; its other slots are read all the same."""
    said = extractor.modifiers_of(" ".join(filter(None, (slots.severity, slots.location))))
    words = {word for slot in (slots.severity, slots.category) for word in (slot or "").split()}
    assertion: Assertion = "present"
    if words & _DENIALS:
        assertion = "absent"
    elif words & _DOUBTS:
        assertion = "uncertain"
    return extractor.finding(category, said, assertion)


def _with_slots(
    finding: Finding, slots: Slots, extractor: RuleExtractor, policy: UnknownPolicy, counts: Counter[str]
) -> Finding | None:
    """The finding, its empty slots dealt with where something unknown was written into them."""
    for name in ("severity", "location"):
        written = fold(getattr(slots, name))
        if written is None or getattr(finding, name) is not None or set(written.split()) <= _DENIALS | _DOUBTS:
            continue
        if extractor.modifiers_of(written) or not set(written.split()).isdisjoint(finding.category.split()):
            counts["repaired_slot"] += 1  # it stood in the wrong one, and is in its own now
            continue
        counts[f"unknown_{name}"] += 1
        if policy.slot == "drop":
            return None
        if policy.slot == "keep":
            finding = replace(finding, **{name: written})
    return finding
