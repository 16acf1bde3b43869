"""Whether a text says that the patient has what it mentions: cue words and how far each of them reaches.

Follows NegEx (Chapman et al., 2001) and its ConText extension (Harkema et al., 2009): cues reach forward or backward
inside their sentence, up to a word that ends a statement. Cues and limits are ours.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Literal, NamedTuple

import yaml

from phenolip.phenokg.linking.words import Separator
from phenolip.phenokg.records import Assertion

Direction = Literal["forward", "backward"]

# Words that end a statement: what follows is said on its own.
_ENDS = frozenset(
    """but however although though except aside apart yet whereas which who because since still unchanged despite
    otherwise nevertheless nonetheless""".split()
)
_VERBS = frozenset(
    """is are was were has have had shows show showed demonstrates demonstrate demonstrated reveals reveal revealed
    appears appear appeared remains remain remained presents presented developed develops noted""".split()
)
_CLAUSE_ENDS = _ENDS | _VERBS
_PARTICIPLES = frozenset("seen identified noted present demonstrated visualized evident".split())
_STRENGTH = {"family": 4, "absent": 3, "uncertain": 2, "historical": 1, "present": 0}
# Cues whose object may be a part of the body, which makes a finding of them: "absence of the nails".
_NAMES_ITS_OBJECT = {("absence", "of"), ("lack", "of"), ("lacks",), ("lacked",), ("absent",), ("without",)}
_REACH = {"backward": 12, "forward": 60}  # words


class _Cue(NamedTuple):
    words: tuple[str, ...]
    readings: tuple[tuple[Assertion, Direction], ...]  # none for what is no cue


class _Reach(NamedTuple):
    """Places that a cue speaks of: from `low` up to, not including, `high`."""

    low: int
    high: int
    assertion: Assertion


def _cues() -> dict[str, dict[str, list[_Cue]]]:
    """Cues by their first and second word, the longest first; the second of a single word is empty."""
    listed = yaml.safe_load(
        files("phenolip.phenokg.linking").joinpath("assertion_cues.yaml").read_text(encoding="utf-8")
    )
    readings: dict[tuple[str, ...], list[tuple[Assertion, Direction]]] = {
        tuple(phrase.split()): [] for phrase in listed.pop("no_cues")
    }
    for assertion, directions in listed.items():
        for direction, phrases in directions.items():
            for phrase in phrases:
                readings.setdefault(tuple(phrase.split()), []).append((assertion, direction))
    cues: dict[str, dict[str, list[_Cue]]] = defaultdict(lambda: defaultdict(list))
    for words in sorted(readings, key=lambda words: (-len(words), words)):
        cues[words[0]][words[1] if len(words) > 1 else ""].append(_Cue(words, tuple(readings[words])))
    return {first: dict(by_second) for first, by_second in cues.items()}


_BY_FIRST_WORD = _cues()
_FIRST_WORDS = frozenset(word for first in _BY_FIRST_WORD for word in (first, first.capitalize(), first.upper()))


def find_assertions(
    words: Sequence[str], separators: Sequence[Separator], mentions: Sequence[tuple[int, ...]]
) -> list[Assertion]:
    """What the text says of each mention.

    Args:
        words: Of the text.
        separators: What stands before each word.
        mentions: Places in `words` of each mention, rising; the mentions by their first place.

    Returns:
        One assertion a mention; a stronger one wins: family, absent, uncertain, historical, present.
    """
    cue_places = [place for place, word in enumerate(words) if word in _FIRST_WORDS]
    assertions: list[Assertion] = ["present"] * len(mentions)
    if not cue_places or not mentions:
        return assertions
    sentence = _Words([word.lower() for word in words], separators, mentions)
    firsts = [places[0] for places in mentions]
    for low, high, assertion in sentence.reaches(cue_places):
        for number in range(bisect_left(firsts, low), bisect_left(firsts, high)):
            if mentions[number][-1] < high and _STRENGTH[assertion] > _STRENGTH[assertions[number]]:
                assertions[number] = assertion
    return assertions


class _Words:
    """The words of a text, in lower case, and where its mentions lie."""

    def __init__(self, words: list[str], separators: Sequence[Separator], mentions: Sequence[tuple[int, ...]]) -> None:
        self._words, self._separators = words, separators
        self._taken = {place for places in mentions for place in places}

    def reaches(self, cue_places: list[int]) -> Iterator[_Reach]:
        """What each cue speaks of; words of a mention, as in "absent thumb", are no cues."""
        behind = 0
        for place in cue_places:
            if place < behind or place in self._taken:
                continue
            cue = self._cue_at(place)
            if cue is None:
                continue
            behind = place + len(cue.words)
            for assertion, direction in cue.readings:
                if direction == "forward":
                    high = self._end(behind, cue.words in _NAMES_ITS_OBJECT)
                    if high > behind:
                        yield _Reach(behind, high, assertion)
                else:
                    yield _Reach(self._start(place), place, assertion)

    def _cue_at(self, place: int) -> _Cue | None:
        by_second = _BY_FIRST_WORD[self._words[place]]
        following = self._words[place + 1] if place + 1 < len(self._words) else ""
        for cue in (*by_second.get(following, ()), *by_second.get("", ())):
            length = len(cue.words)
            if length <= 2 or tuple(self._words[place : place + length]) == cue.words:
                if Separator.STOP not in self._separators[place + 1 : place + length]:
                    return cue
        return None

    def _end(self, first: int, names_its_object: bool) -> int:
        """Where what a cue before `first` says ends: with the sentence, or where a clause of its own begins."""
        behind = min(len(self._words), first + _REACH["forward"])
        met_mention = False
        for place in range(first, behind):
            word = self._words[place]
            if self._separators[place] == Separator.STOP or word in _ENDS:
                return place
            if place > first and word == "and" and self._begins_clause(place + 1):
                return place
            if names_its_object and not met_mention and (word == "and" or self._separators[place] == Separator.COMMA):
                if not self._is_list_of_alternatives(place):
                    return place  # "absence of the metatarsals, hypoplasia of the fingers": it speaks of no mention
                names_its_object = False
            met_mention = met_mention or place in self._taken
        return behind

    def _is_list_of_alternatives(self, first: int) -> bool:
        """Whether the list goes on to an "or": "without opacity, [effusion, or pneumothorax]"."""
        for place in range(first, min(len(self._words), first + _REACH["forward"])):
            if self._separators[place] == Separator.STOP or self._words[place] == "and":
                return False
            if self._words[place] == "or":
                return True
        return False

    def _begins_clause(self, first: int) -> bool:
        """Whether a verb comes before the next conjunction: "no effusion and [the heart is large]"."""
        for place in range(first, min(len(self._words), first + 8)):
            word = self._words[place]
            if self._separators[place] == Separator.STOP or word in ("and", "or"):
                return False
            if word in _VERBS:
                return place + 1 >= len(self._words) or self._words[place + 1] not in _PARTICIPLES
        return False

    def _start(self, place: int) -> int:
        """Where the statement that a cue at `place` closes begins."""
        first = max(0, place - _REACH["backward"])
        for before in range(place, first, -1):
            if self._separators[before] == Separator.STOP or self._words[before - 1] in _CLAUSE_ENDS:
                return before
        return first
