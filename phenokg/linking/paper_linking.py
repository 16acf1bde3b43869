"""The rule behind the labels of PhenoKG and PhenoBench, faults and all, so that its errors can be counted beside ours.

A label is the name of a leaf of HPO, of two words or more, found anywhere in the text after both are lowered, freed of
punctuation but hyphens, and their spaces collapsed. Words have no boundaries: "canal stenosis" is Anal stenosis.
Source: the filter script of the paper's data repository, and the labels that PhenoBench shows.
"""

import re
from bisect import bisect_right
from collections.abc import Callable

import ahocorasick_rs

from phenolip.ontology import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.phenokg.records import PhenotypeLink

_PUNCTUATION = re.compile(r"[^\w\s-]+")
_NO_PUNCTUATION = dict.fromkeys(code for code in range(128) if _PUNCTUATION.fullmatch(chr(code)))
_BLANK = re.compile(r"\s+")
_RUN = re.compile(r"[\w-]+")


class PaperLinker:
    """Links by the bare names of leaves, as substrings.

    Args:
        ontology: The release.
        root: Leaves below it; the paper's own list also had leaves that are no phenotypes, such as "Very rare".
    """

    def __init__(self, ontology: PhenotypeOntology, root: str = PHENOTYPIC_ABNORMALITY) -> None:
        names = [(ontology[leaf].name, leaf) for leaf in ontology.leaves(root)]
        self._terms = [(leaf, name) for name, leaf in names if " " in plain_text(name)]
        self._automaton = ahocorasick_rs.AhoCorasick(
            [plain_text(name) for _, name in self._terms], matchkind=ahocorasick_rs.MatchKind.Standard
        )

    def link(self, text: str) -> list[PhenotypeLink]:
        """The names that the text holds, overlapping ones included, in reading order; each counts as present."""
        plain = plain_text(text)
        found = self._automaton.find_matches_as_indexes(plain, overlapping=True)
        if not found:
            return []
        offsets = _offsets(text)
        links = []
        for number, first, behind in found:
            hpo_id, name = self._terms[number]
            start, end = offsets(first), offsets(behind - 1) + 1
            links.append(PhenotypeLink(hpo_id, name, start, end, text[start:end], "present", "name", 1.0, "paper"))
        return sorted(links, key=lambda link: (link.start, link.end, link.hpo_id))


def plain_text(text: str) -> str:
    """The form in which names and texts are compared."""
    lowered = _lower(text)
    if lowered.isascii():  # several times faster than the pattern
        return " ".join(lowered.translate(_NO_PUNCTUATION).split())
    return " ".join(_PUNCTUATION.sub("", lowered).split())


def _lower(text: str) -> str:
    """Lower case, character for character: "İ", which would become two, stays."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(character.lower() if len(character.lower()) == 1 else character for character in text)


def _offsets(text: str) -> Callable[[int], int]:
    """Gives for a character of `plain_text(text)` that is no space the character of the text that it comes from."""
    plain_starts, text_starts, length, behind = [], [], 0, 0
    for run in _RUN.finditer(text):
        if plain_starts and _BLANK.search(text, behind, run.start()):
            length += 1
        plain_starts.append(length)
        text_starts.append(run.start())
        length += run.end() - run.start()
        behind = run.end()

    def offset(place: int) -> int:
        number = bisect_right(plain_starts, place) - 1
        return text_starts[number] + place - plain_starts[number]

    return offset
