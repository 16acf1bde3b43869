"""Which words of severity, side and place belong to which finding of a sentence.

Modifiers that stand together are a run: "left and right lower lobe", "small, loculated". A run belongs to the finding
that it stands right before ("left basilar opacity"), else to the one before it that it completes ("opacity in the
left base", "the effusion is small"), else to the next of its sentence ("in the left base there is an opacity"). What
is coordinated, or said to explain the other, shares a place: "left basilar atelectasis or infiltrate", "opacity in
the left base, likely pneumonia". The rules are ours.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from phenolip.phenokg.findings.finding_gaps import Gap, read_gap
from phenolip.phenokg.findings.finding_lexicon import FindingKind
from phenolip.phenokg.findings.finding_modifiers import FoundModifier, Modifier
from phenolip.phenokg.linking.match_wordings import Mention, WordedText
from phenolip.phenokg.linking.words import Separator

_SIDELESS = frozenset(("heart", "abdomen"))
_ALIKE = frozenset((("bone", "spine"), ("spine", "bone")))
_MAX_SENTENCE_WORDS = 120  # those of the matcher
_MAX_BETWEEN = 6  # words between a finding and what completes it
_LOCATES = frozenset(("side", "region"))


class _Run(NamedTuple):
    """Modifiers that stand together, in segments that a comma or conjunction parts."""

    segments: tuple[tuple[FoundModifier, ...], ...]

    @property
    def low(self) -> int:
        return self.segments[0][0].low

    @property
    def high(self) -> int:
        return self.segments[-1][-1].high


def attach_modifiers(
    worded: WordedText,
    words: Sequence[str],
    mentions: Sequence[Mention],
    kinds: Sequence[FindingKind],
    modifiers: Sequence[FoundModifier],
) -> list[list[Modifier]]:
    """What is said of each mention, in reading order.

    Args:
        worded: The text.
        words: Its words in lower case.
        mentions: Findings in reading order.
        kinds: Of each mention.
        modifiers: Of the text, in reading order.
    """
    attached: list[list[Modifier]] = [[] for _ in mentions]
    if not mentions or not modifiers:
        return attached
    stops = _sentence_ends(worded)
    by_sentence: dict[int, tuple[list[int], list[FoundModifier]]] = {}
    for number, mention in enumerate(mentions):
        by_sentence.setdefault(bisect_left(stops, mention.places[0] + 1), ([], []))[0].append(number)
    for found in modifiers:
        sentence = by_sentence.get(bisect_left(stops, found.low + 1))
        if sentence is not None:
            sentence[1].append(found)
    for numbers, of_sentence in by_sentence.values():
        if of_sentence:
            _Sentence(worded, words, mentions, kinds, numbers, of_sentence, attached).attach()
    return attached


def _sentence_ends(worded: WordedText) -> list[int]:
    """Where sentences end; a text without a full stop is cut, which keeps the time linear."""
    ends, first = [], 0
    for place, kind in enumerate(worded.kinds):
        if kind == Separator.STOP or place - first >= _MAX_SENTENCE_WORDS:
            ends.append(place)
            first = place
    return ends


class _Sentence:
    """One sentence: the findings in it by number, the modifiers in it, and where to put what belongs together."""

    def __init__(
        self,
        worded: WordedText,
        words: Sequence[str],
        mentions: Sequence[Mention],
        kinds: Sequence[FindingKind],
        numbers: list[int],
        modifiers: list[FoundModifier],
        attached: list[list[Modifier]],
    ) -> None:
        self._separators, self._words = worded.kinds, words
        self._mentions, self._kinds, self._numbers = mentions, kinds, numbers
        self._modifiers, self._attached = modifiers, attached
        self._said = {place for found in modifiers for place in range(found.low, found.high)}
        self._owner = {place: number for number in numbers for place in mentions[number].places}
        self._followed: set[int] = set()  # findings that a run completes from behind

    def attach(self) -> None:
        """Each run to its finding, then what findings share."""
        for run in self._runs():
            self._attach_run(run)
        self._share()

    def _runs(self) -> list[_Run]:
        """The modifiers outside of mentions, those that stand together in one run; those inside are attached."""
        runs: list[list[list[FoundModifier]]] = []
        previous: FoundModifier | None = None
        for found in self._modifiers:
            owners = {self._owner.get(place) for place in range(found.low, found.high)}
            if owners != {None}:  # "opacity in the lung" is a name, "opacity in the [lung bases]" says where
                if None in owners:
                    self._add(max(owner for owner in owners if owner is not None), found.says)
                continue
            if (inside := self._around(found)) is not None:
                self._add(inside, found.says)
                continue
            gap = self._gap(previous.high, found.low) if previous is not None else None
            if gap is None or not self._stands_together(previous, found, gap):
                runs.append([[found]])
            elif gap.has_comma or gap.has_conjunction:
                runs[-1].append([found])
            else:
                runs[-1][-1].append(found)
            previous = found
        return [_Run(tuple(tuple(segment) for segment in run)) for run in runs]

    def _stands_together(self, one: FoundModifier, other: FoundModifier, gap: Gap) -> bool:
        if any(place in self._owner for place in range(one.high, other.low)):
            return False
        if gap.has_link or gap.has_end or gap.has_explanation:
            return False
        if gap.has_preposition:  # "base of the left lung", "lingula and in the right base"
            return gap.num_words <= 3 and _locates(one) and _locates(other)
        return gap.num_words <= 1 or (gap.num_words <= 3 and not (gap.has_comma or gap.has_conjunction))

    def _around(self, found: FoundModifier) -> int | None:
        """The mention whose words stand on both sides: "heart is [mildly] enlarged"."""
        for number in self._numbers:
            places = self._mentions[number].places
            if places[0] < found.low and found.high <= places[-1]:
                return number
        return None

    def _attach_run(self, run: _Run) -> None:
        before, after = self._neighbours(run)
        ahead = self._gap(run.high, self._mentions[after].places[0]) if after is not None else None
        behind = self._gap(self._mentions[before].places[-1] + 1, run.low) if before is not None else None
        completes = behind is not None and self._completes(run, behind, ahead)
        if ahead is not None and ahead.is_adjectival and not (completes and behind.in_phrase and ahead.num_words):
            segments = run.segments
            if completes and behind.has_preposition and len(segments) > 1:
                self._attach_behind(before, segments[:-1])
                segments = segments[-1:]
            self._attach_segments(after, segments)
        elif completes:
            self._attach_behind(before, run.segments)
        elif ahead is not None and not ahead.has_explanation and (ahead.begins_with_with or not ahead.has_end):
            self._attach_segments(after, run.segments)

    def _attach_behind(self, number: int, segments: Sequence[Sequence[FoundModifier]]) -> None:
        self._attach_segments(number, segments)
        self._followed.add(number)

    def _attach_segments(self, number: int, segments: Sequence[Sequence[FoundModifier]]) -> None:
        for segment in segments:
            for found in segment:
                self._add(number, found.says)

    def _completes(self, run: _Run, behind: Gap, ahead: Gap | None) -> bool:
        """Whether a run says more of the finding before it."""
        if behind.has_end or behind.has_explanation:
            return False
        if behind.has_preposition:
            return True
        if behind.has_comma or behind.has_conjunction:  # "effusion, left more than right", not "effusion, mild edema"
            return ahead is None or ahead.has_link or ahead.has_end or ahead.has_preposition
        return behind.num_words <= _MAX_BETWEEN

    def _neighbours(self, run: _Run) -> tuple[int | None, int | None]:
        before = [number for number in self._numbers if self._mentions[number].places[-1] < run.low]
        after = [number for number in self._numbers if self._mentions[number].places[0] >= run.high]
        return (before[-1] if before else None), (after[0] if after else None)

    def _add(self, number: int, says: Sequence[Modifier]) -> None:
        kind = self._kinds[number]
        self._attached[number] += [modifier for modifier in says if _fits(modifier, kind)]

    def _share(self) -> None:
        """Places of coordinated findings, and of findings that explain each other."""
        pairs = []
        for one, other in zip(self._numbers, self._numbers[1:], strict=False):
            gap = self._gap(self._mentions[one].places[-1] + 1, self._mentions[other].places[0])
            if self._mentions[other].places[0] <= self._mentions[one].places[-1]:  # "pulmonary masses and nodules"
                gap = gap._replace(is_same_place=True)
            if not gap.has_end or gap.is_same_place:
                pairs.append((one, other, gap))
        for one, other, gap in pairs:
            coordinated = (gap.has_comma or gap.has_conjunction) and not (gap.has_link or gap.has_preposition)
            if gap.is_same_place or (coordinated and one not in self._followed):
                self._inherit(one, other, _LOCATES)
            if gap.has_explanation or (gap.has_or and not gap.has_preposition):
                self._inherit(one, other, frozenset(("grade", "size")))
        for one, other, gap in reversed(pairs):
            tight = not (gap.has_link or gap.has_preposition or gap.has_end)
            if other in self._followed and tight and (gap.has_conjunction or gap.has_comma or gap.has_explanation):
                self._inherit(other, one, _LOCATES)
                self._followed.add(one)

    def _inherit(self, source: int, heir: int, types: frozenset[str]) -> None:
        """What one finding has of some types, to another that has nothing of these."""
        if not any(modifier.type in types for modifier in self._attached[heir]):
            self._add(heir, [modifier for modifier in self._attached[source] if modifier.type in types])

    def _gap(self, low: int, high: int) -> Gap:
        """What stands from place `low` up to, not including, `high`, and before `high`."""
        words = [
            self._words[place] for place in range(low, high) if place not in self._said and place not in self._owner
        ]
        return read_gap(words, self._separators[low : high + 1] if high > low else self._separators[low : low + 1])


def _locates(found: FoundModifier) -> bool:
    return any(modifier.type in _LOCATES for modifier in found.says)


def _fits(modifier: Modifier, kind: FindingKind) -> bool:
    """Whether a finding can have a place: a lobe of the lung is none of a fracture's."""
    if modifier.type not in _LOCATES:
        return True
    if kind.site in _SIDELESS:
        return False
    sites = (modifier.site, kind.site)
    return None in sites or sites[0] == sites[1] or sites in _ALIKE
