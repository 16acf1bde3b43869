"""What a report says of its findings: the cues of the linker, and what only reports have.

A report calls normal what it names ("vascular engorgement is within normal limits"), weighs two readings against each
other ("atelectasis versus infiltrate"), and sees today what an earlier illness left behind ("prior granulomatous
disease").
"""

from bisect import bisect_left
from collections.abc import Sequence

from phenolip.phenokg.findings.finding_lexicon import FindingKind
from phenolip.phenokg.linking.assertions import find_assertions
from phenolip.phenokg.linking.words import Separator
from phenolip.phenokg.records import Assertion

_VERSUS = frozenset(("versus", "vs"))
_VERBS = frozenset("is are was were appear appears remain remains".split())
_NORMAL = (("normal",), ("unremarkable",), ("within", "normal"), ("within", "limits", "of", "normal"))
_MAX_BEFORE_VERB, _MAX_BEFORE_NORMAL = 1, 2  # words


def find_report_assertions(
    words: Sequence[str],
    separators: Sequence[Separator],
    mentions: Sequence[tuple[int, ...]],
    kinds: Sequence[FindingKind],
) -> list[Assertion]:
    """What the report says of each finding.

    Args:
        words: Of the text, in lower case.
        separators: What stands before each word.
        mentions: Places in `words` of each finding, rising; the findings by their first place.
        kinds: Of each finding.
    """
    weighed = [place for place, word in enumerate(words) if word in _VERSUS]
    heard = ["" if word == "other" else "or" if word in _VERSUS else word for word in words]
    assertions = find_assertions(heard, separators, mentions)
    for number, (places, kind) in enumerate(zip(mentions, kinds, strict=True)):
        if kind.assertion is not None:
            assertions[number] = kind.assertion
        elif assertions[number] == "present" and _is_called_normal(words, separators, places[-1] + 1):
            assertions[number] = "absent"
        elif assertions[number] == "historical" and kind.is_lasting:
            assertions[number] = "present"
    for place in weighed:
        for number in _weighed_against(place, separators, mentions):
            if assertions[number] == "present":
                assertions[number] = "uncertain"
    return assertions


def _is_called_normal(words: Sequence[str], separators: Sequence[Separator], first: int) -> bool:
    """Whether the words from `first` on say that it is normal."""
    for verb in range(first, min(len(words), first + _MAX_BEFORE_VERB + 1)):
        if separators[verb] >= Separator.COMMA:
            return False
        if words[verb] in _VERBS:
            begins = range(verb + 1, min(len(words), verb + 2 + _MAX_BEFORE_NORMAL))
            return any(_begins_with_normal(words, separators, verb, begin) for begin in begins)
    return False


def _begins_with_normal(words: Sequence[str], separators: Sequence[Separator], verb: int, begin: int) -> bool:
    if "not" in words[verb:begin] or any(kind >= Separator.COMMA for kind in separators[verb + 1 : begin + 1]):
        return False
    return any(tuple(words[begin : begin + len(normal)]) == normal for normal in _NORMAL)


def _weighed_against(place: int, separators: Sequence[Separator], mentions: Sequence[tuple[int, ...]]) -> list[int]:
    """The findings on both sides of a "versus"; no comma parts them from it."""
    after = bisect_left(mentions, (place,))
    before, sides = after - 1, []
    if before >= 0 and mentions[before][-1] < place:
        if max(separators[mentions[before][-1] + 1 : place + 1]) < Separator.COMMA:
            sides.append(before)
    if after < len(mentions) and max(separators[place + 1 : mentions[after][0] + 1]) < Separator.COMMA:
        sides.append(after)
    return sides
