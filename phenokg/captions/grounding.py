"""Whether what a model wrote is said by its sources: claim by claim, on words, numbers, sides, denials, phenotypes.

A check of wording, not of meaning: what passes may still be wrong, a paraphrase in other words may be dropped.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from phenolip.phenokg.captions.modality_words import modality_spans
from phenolip.phenokg.captions.refined_records import DroppedReason
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.phenokg.linking.assertions import find_assertions
from phenolip.phenokg.linking.words import WORD, Role, Separator, role_of, separator_of, stem
from phenolip.phenokg.records import Modality, PhenotypeLink

MIN_SUPPORT = 0.8
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SIDES = {
    word: side
    for side, words in {"left": "left sinistral", "right": "right dextral"}.items()
    for word in words.split()
}
_SIDE_REACH = 5  # words between a side and what lies there
# What descriptions of any image say.
_FRAME = frozenset(
    stem(word)
    for word in """image images figure picture view scan section slice panel photograph show showing demonstrate
    demonstrating depict depicting reveal revealing display displaying illustrate indicate present visible seen
    appear appearance patient case finding findings consistent include including area region evidence note
    identified marked arrow arrows side sided within along between near taken obtained using can also""".split()
)


@dataclass(frozen=True, slots=True)
class _Said:
    """A word of a text that says something.

    Attributes:
        stem: Of the word.
        place: Among all words of the text.
        is_denied: Whether the text denies it.
        start: First character.
    """

    stem: str
    place: int
    is_denied: bool
    start: int


class Grounding:
    """The sources of a description, read once for all claims on them.

    Args:
        sources: Caption and context.
        linker: Finds phenotypes in sources and claims.
        min_support: Share of a claim's words that sources must have, 0 to 1; words of any image's description and of
            modalities do not count.

    Attributes:
        modalities: That the sources name by strong words.
        links: Phenotypes of each source.

    Source: ours.

    Example:
        >>> from phenolip.ontology import load_ontology
        >>> grounding = Grounding(["CT: 3 cm mass of the left kidney, no seizures."], PhenotypeLinker(load_ontology()))
        >>> [grounding.problem(claim) for claim in ("A mass in the left kidney.", "A mass of 4 cm.", "Seizures.")]
        [None, 'new_number', 'reversed']
    """

    def __init__(self, sources: Sequence[str], linker: PhenotypeLinker, min_support: float = MIN_SUPPORT) -> None:
        self._linker, self._min_support = linker, min_support
        self._denials: dict[str, set[bool]] = defaultdict(set)
        self._sides: dict[str, set[str]] = defaultdict(set)  # stem -> sides it is said to be on
        self._numbers: set[str] = set()
        self.modalities: set[Modality] = set()
        self.links: list[list[PhenotypeLink]] = []
        for text in sources:
            said, words = _read(text)
            for word in said:
                self._denials[word.stem].add(word.is_denied)
            for word, side in _sided(said, words):
                self._sides[word].add(side)
            self._numbers.update(_NUMBER.findall(text))
            self.modalities.update(modality for modality, _, _ in modality_spans(text))
            self.links.append(linker.link(text))

    def problem(self, claim: str) -> DroppedReason | None:
        """Why the sources do not support a claim; None if they do."""
        spans = modality_spans(claim)
        if any(modality not in self.modalities for modality, _, _ in spans):
            return "new_modality"
        if any(number not in self._numbers for number in _NUMBER.findall(claim)):
            return "new_number"
        said, words = _read(claim)
        said = [word for word in said if not any(start <= word.start < end for _, start, end in spans)]
        telling = [word for word in said if word.stem not in _FRAME]
        known = [word for word in telling if word.stem in self._denials]
        if any(self._denials[word.stem] == {not word.is_denied} for word in known):
            return "reversed"
        if any(self._sides[word] and side not in self._sides[word] for word, side in _sided(said, words)):
            return "other_side"
        if problem := self._phenotype_problem(claim):
            return problem
        return "new_words" if len(known) < self._min_support * len(telling) else None

    def support(self, hpo_id: str, kin: Iterable[str]) -> tuple[int, PhenotypeLink] | None:
        """The nearest source, from 0, that states a phenotype or one of its kin, and the surest mention there."""
        wanted = {hpo_id, *kin}
        for place, links in enumerate(self.links):
            stated = [link for link in links if link.hpo_id in wanted and link.assertion in ("present", "uncertain")]
            if stated:
                return place, max(stated, key=lambda link: (link.hpo_id == hpo_id, link.score))
        return None

    def _phenotype_problem(self, claim: str) -> DroppedReason | None:
        for link in self._linker.link(claim):
            stated = {each.assertion for links in self.links for each in links if each.hpo_id == link.hpo_id}
            if not stated:
                return "new_phenotype"
            is_denied = link.assertion == "absent"
            if stated == {"absent"} if not is_denied else "absent" not in stated:
                return "reversed"
            if link.assertion == "present" and stated == {"uncertain"}:
                return "surer"
        return None


def _read(text: str) -> tuple[list[_Said], list[str]]:
    """The words of a text that say something, and all its words."""
    pieces = WORD.split(text)  # separators and words, in turn
    words = pieces[1::2]
    separators = [Separator.STOP, *map(separator_of, pieces[2:-1:2])]
    places = [place for place, word in enumerate(words) if _says_something(word)]
    assertions = find_assertions(words, separators, [(place,) for place in places])
    starts = []
    start = 0
    for number, piece in enumerate(pieces):
        if number % 2:
            starts.append(start)
        start += len(piece)
    said = [
        _Said(stem(words[place]), place, assertion == "absent", starts[place])
        for place, assertion in zip(places, assertions, strict=True)
    ]
    return said, words


def _says_something(word: str) -> bool:
    lower = word.lower()
    return role_of(word) is Role.CONTENT and not word.isdigit() and lower not in _cue_words() and lower not in _SIDES


def _sided(said: Sequence[_Said], words: Sequence[str]) -> list[tuple[str, str]]:
    """Words that stand shortly behind a side, and the side: the first two words of each."""
    telling = [word for word in said if word.stem not in _FRAME]
    places = [word.place for word in telling]
    found = []
    for place, word in enumerate(words):
        if (side := _SIDES.get(word.lower())) is not None:
            first = bisect_right(places, place)
            near = (each for each in telling[first : first + 2] if each.place <= place + _SIDE_REACH)
            found += [(each.stem, side) for each in near]
    return found


@cache
def _cue_words() -> frozenset[str]:
    """Words of cues, such as "absence": they say that something is denied, not what."""
    listed = yaml.safe_load(
        files("phenolip.phenokg.linking").joinpath("assertion_cues.yaml").read_text(encoding="utf-8")
    )
    listed.pop("no_cues")
    phrases = (phrase for directions in listed.values() for each in directions.values() for phrase in each)
    return frozenset(word for phrase in phrases for word in phrase.split())
