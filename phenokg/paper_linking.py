"""The rule behind the labels of PhenoKG and PhenoBench, faults and all, so that its errors can be counted beside ours.

A label is the name of a leaf of HPO, of two words or more, found anywhere in the text after both are lowered, freed of
punctuation but hyphens, and their spaces collapsed. Words have no boundaries: "canal stenosis" is Anal stenosis.
Source: the filter script of the paper's data repository, and the labels that PhenoBench shows.
"""

import re

import ahocorasick_rs

from phenolip.ontology import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.phenokg.records import PhenotypeLink

_PUNCTUATION = re.compile(r"[^\w\s-]+")
_BLANK = re.compile(r"\s+")


class PaperLinker:
    """Links by the bare names of leaves, as substrings.

    Args:
        ontology: The release.
        root: Leaves below it; the paper's own list also had leaves that are no phenotypes, such as "Very rare".
    """

    def __init__(self, ontology: PhenotypeOntology, root: str = PHENOTYPIC_ABNORMALITY) -> None:
        names = [(ontology[leaf].name, leaf) for leaf in ontology.leaves(root)]
        self._terms = [(leaf, name) for name, leaf in names if " " in _plain(name)]
        self._automaton = ahocorasick_rs.AhoCorasick(
            [_plain(name) for _, name in self._terms], matchkind=ahocorasick_rs.MatchKind.Standard
        )

    def link(self, text: str) -> list[PhenotypeLink]:
        """The names that the text holds, overlapping ones included, in reading order; each counts as present."""
        plain = _plain(text)
        found = self._automaton.find_matches_as_indexes(plain, overlapping=True)
        if not found:
            return []
        offsets = _offsets(text)
        links = []
        for number, first, behind in found:
            hpo_id, name = self._terms[number]
            start, end = offsets[first], offsets[behind - 1] + 1
            links.append(PhenotypeLink(hpo_id, name, start, end, text[start:end], "present", "name", 1.0, "paper"))
        return sorted(links, key=lambda link: (link.start, link.end, link.hpo_id))


def _plain(text: str) -> str:
    return _BLANK.sub(" ", _PUNCTUATION.sub("", text.lower())).strip()


def _offsets(text: str) -> list[int]:
    """For each character of `_plain(text)`, the character of the text that it comes from."""
    kept: list[tuple[str, int]] = []
    for place, character in enumerate(text):
        for part in character.lower():  # "İ" is two characters in lower case
            if _PUNCTUATION.fullmatch(part):
                continue
            if not part.isspace():
                kept.append((part, place))
            elif kept and kept[-1][0] != " ":
                kept.append((" ", place))
    return [place for _, place in kept]
