"""Words that say how severe a finding is, where, on which side and since when; with the ontology's modifiers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Literal, NamedTuple

import yaml

from phenolip.exceptions import UnknownTermError
from phenolip.ontology import PhenotypeOntology
from phenolip.phenokg.linking.words import WORD, Separator

ModifierType = Literal["grade", "size", "course", "side", "region", "quality"]

# Of the release: the modifiers below these are looked for by name and exact synonym.
_ROOTS = {
    "HP:0012824": "grade",  # Severity
    "HP:0012836": "quality",  # Spatial pattern
    "HP:0012830": "quality",  # Position
    "HP:0011008": "course",  # Temporal pattern
    "HP:0003679": "course",  # Pace of progression
    "HP:0003674": "quality",  # Onset
}
_MAX_WORDS = 3
# Names of modifiers that are everyday words in a report, and say nothing of the finding.
_TOO_COMMON = frozenset("stable late onset sharp dull lateral axial localization stationary prolonged".split())


class Modifier(NamedTuple):
    """What a word says.

    Attributes:
        type: How severe ("grade"), how large, since when ("course"), which side, which place ("region"), or how it is
            spread and when it began ("quality").
        text: In the words of the slot, "mild", "left", "lower lobe".
        hpo_id: Of the ontology's modifier; None if it has none.
        site: Part of the body that a place is in; None if it may be any.
        is_implied: Whether a plural says it, "the bases": any side that is named wins.
    """

    type: ModifierType
    text: str
    hpo_id: str | None = None
    site: str | None = None
    is_implied: bool = False


class FoundModifier(NamedTuple):
    """Words of a text from place `low` up to, not including, `high`, and what they say."""

    low: int
    high: int
    says: tuple[Modifier, ...]


class ModifierLexicon:
    """Finds modifiers in the words of a text; the longest wording wins.

    Args:
        ontology: The release, whose modifiers are known by name; ids that it lacks are left out.
    """

    def __init__(self, ontology: PhenotypeOntology) -> None:
        wordings: dict[tuple[str, ...], list[Modifier]] = defaultdict(list)
        for words, modifier in (*_listed(), *_of_release(ontology)):
            known = wordings[words]
            if all(other.type != modifier.type for other in known) and not (known and modifier.type == "quality"):
                known.append(modifier._replace(hpo_id=_current(ontology, modifier.hpo_id)))
        self._by_first: dict[str, list[tuple[tuple[str, ...], tuple[Modifier, ...]]]] = defaultdict(list)
        for words in sorted(wordings, key=len, reverse=True):
            self._by_first[words[0]].append((words, tuple(wordings[words])))

    def find(self, words: Sequence[str], separators: Sequence[int]) -> list[FoundModifier]:
        """All modifiers of a text in reading order; none overlaps another.

        Args:
            words: Of the text, in lower case.
            separators: What stands before each word, as `Separator`.
        """
        found, place = [], 0
        by_first = self._by_first
        while place < len(words):
            match = self._match(words, separators, place) if words[place] in by_first else None
            if match is None:
                place += 1
            else:
                found.append(match)
                place = match.high
        return found

    def _match(self, words: Sequence[str], separators: Sequence[int], place: int) -> FoundModifier | None:
        for wording, says in self._by_first[words[place]]:
            behind = place + len(wording)
            if tuple(words[place:behind]) == wording and Separator.STOP not in separators[place + 1 : behind]:
                return FoundModifier(place, behind, says)
        return None


def _listed() -> Iterator[tuple[tuple[str, ...], Modifier]]:
    """The wordings of the list."""
    listed = yaml.safe_load(
        files("phenolip.phenokg.findings").joinpath("modifier_lexicon.yaml").read_text(encoding="utf-8")
    )
    bilateral = next(hpo_id for text, hpo_id, _ in listed["side"] if text == "bilateral")
    for text, hpo_id, site, singular, plural in listed.pop("region"):
        region = Modifier("region", text, hpo_id, site)
        for wording in singular:
            yield tuple(wording.split()), region
        for wording in plural:
            yield tuple(wording.split()), region
            yield tuple(wording.split()), Modifier("side", "bilateral", bilateral, is_implied=True)
    for kind, rows in listed.items():
        for text, hpo_id, wordings in rows:
            for wording in wordings:
                yield tuple(str(wording).split()), Modifier(kind, text, hpo_id)


def _of_release(ontology: PhenotypeOntology) -> Iterator[tuple[tuple[str, ...], Modifier]]:
    """The wordings of the release's modifiers, as far as reports may use them."""
    for root, kind in _ROOTS.items():
        if _current(ontology, root) is None:
            continue
        for hpo_id in ontology.descendants(root):
            term = ontology[hpo_id]
            for text in (term.name, *(synonym.text for synonym in term.synonyms if synonym.scope == "EXACT")):
                words = tuple(WORD.findall(text.casefold()))
                if 0 < len(words) <= _MAX_WORDS and not (len(words) == 1 and words[0] in _TOO_COMMON):
                    yield words, Modifier(kind, term.name.lower(), hpo_id)


def _current(ontology: PhenotypeOntology, hpo_id: str | None) -> str | None:
    try:
        return None if hpo_id is None else ontology.resolve(hpo_id)
    except UnknownTermError:
        return None
