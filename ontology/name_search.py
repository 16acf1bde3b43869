"""Which terms a text names, word for word: names and synonyms of a release, found in one pass over the words.

For guards, which must not miss what stands there; it knows nothing of negation or of other wordings. Needs no extra.
"""

import re
from collections.abc import Iterable

from phenolip.ontology.graph import PhenotypeOntology

_WORD = re.compile(r"\w+")
_MIN_CHARS = 4  # a name of up to three letters ("ALL", "PE") counts in its own case alone


class NameSearch:
    """Looks for the names and synonyms of any scope of some terms; case, separators and a plural s do not matter.

    Args:
        ontology: The release.
        hpo_ids: Terms to look for; by default every one under HP:0000118.

    Example:
        >>> from phenolip.ontology import PhenotypeTerm
        >>> terms = [PhenotypeTerm("HP:0000118", "Phenotypic abnormality"),
        ...          PhenotypeTerm("HP:0000518", "Cataract", parents=("HP:0000118",))]
        >>> NameSearch(PhenotypeOntology(terms, release="2025-01-16")).find("Bilateral cataracts.")
        ('HP:0000518',)
    """

    def __init__(self, ontology: PhenotypeOntology, hpo_ids: Iterable[str] | None = None) -> None:
        self._by_first: dict[str, dict[tuple[str, ...], set[str]]] = {}
        self._short: dict[str, set[str]] = {}
        for hpo_id in ontology.term_ids() if hpo_ids is None else hpo_ids:
            term = ontology[hpo_id]
            for text in (term.name, *(synonym.text for synonym in term.synonyms)):
                self._add(text, term.id)

    def find(self, text: str) -> tuple[str, ...]:
        """Ids of the terms that a text names, ascending."""
        raw = _WORD.findall(text)
        words = [_fold(word) for word in raw]
        found: set[str] = set()
        for place, word in enumerate(words):
            found |= self._short.get(raw[place], set())
            for wording, hpo_ids in self._by_first.get(word, {}).items():
                if tuple(words[place : place + len(wording)]) == wording:
                    found |= hpo_ids
        return tuple(sorted(found))

    def _add(self, text: str, hpo_id: str) -> None:
        words = _WORD.findall(text)
        if len(words) == 1 and len(text) < _MIN_CHARS:
            self._short.setdefault(text, set()).add(hpo_id)
        elif words:
            wording = tuple(map(_fold, words))
            self._by_first.setdefault(wording[0], {}).setdefault(wording, set()).add(hpo_id)


def _fold(word: str) -> str:
    """A word without case and plural ending: both sides are folded alike, so that it need not be good English."""
    word = word.casefold()
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return word
