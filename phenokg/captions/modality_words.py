"""What a caption's words say of how its image was made: CT, MRI, pathology, ..."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import get_args

import yaml

from phenolip.phenokg.records import Modality

_WORD = re.compile(r"[^\W_]+")
_MAX_WORDS = 4  # of an entry
_MIN_STEM, _MAX_STEM = 3, 30  # letters before the * of an entry


@dataclass(frozen=True, slots=True)
class ModalityWords:
    """A modality and the words that name it.

    Attributes:
        modality: What was read.
        surface: The first words that say so, as they stand in the text.
        place: Which of the texts they stand in, from 0.
    """

    modality: Modality
    surface: str
    place: int


@dataclass(frozen=True, slots=True)
class _Entries:
    """Entries of one strength, their words joined by blanks, and the words that are read as written."""

    modalities: dict[str, Modality]
    cased: frozenset[str]

    def word(self, word: str) -> str:
        """A word of a text in the form in which entries have it."""
        if word in self.cased:
            return word
        return word[:-1] if word[-1] == "s" and word[:-1] in self.cased else word.casefold()

    def modality(self, words: Sequence[str]) -> Modality | None:
        """What an entry of these words names."""
        before, last = "".join(f"{word} " for word in words[:-1]), words[-1]
        for form in (last, *(f"{last[:size]}*" for size in range(min(len(last), _MAX_STEM), _MIN_STEM - 1, -1))):
            if (modality := self.modalities.get(before + form)) is not None:
                return modality
        return None


def find_modality(texts: Sequence[str]) -> ModalityWords | None:
    """The modality that texts name, read from the surest text to the last; None where none does.

    The first text with a strong word decides, by the number of its words, of equals by the first. Where no text has
    one, common words such as "hypodense" decide likewise.

    Args:
        texts: Such as a subfigure's own text, the background of its caption, the article's paragraphs on the figure.

    Source: ours.

    Example:
        >>> find_modality(["Axial view with a hypodense mass.", "A patient with fever: CT and biopsy."])
        ModalityWords(modality='CT', surface='CT', place=1)
    """
    for entries in _entries():
        for place, text in enumerate(texts):
            if found := list(_matches(text, entries)):
                counts = Counter(modality for modality, _, _ in found)
                best = max(counts, key=counts.__getitem__)  # of equals the first, since counts keep reading order
                _, start, end = next(match for match in found if match[0] == best)
                return ModalityWords(best, text[start:end], place)
    return None


def modality_spans(text: str) -> list[tuple[Modality, int, int]]:
    """Every strong word that names a modality, with its start and end in the text, in reading order.

    Example:
        >>> modality_spans("Chest radiograph and CT.")
        [('X-ray', 6, 16), ('CT', 21, 23)]
    """
    return list(_matches(text, _entries()[0]))


def _matches(text: str, entries: _Entries) -> Iterator[tuple[Modality, int, int]]:
    """Modality, start and end of each match, none inside another, in reading order; of one place the longest."""
    found = list(_WORD.finditer(text))
    words = [entries.word(match.group()) for match in found]
    place = 0
    while place < len(words):
        for size in range(min(_MAX_WORDS, len(words) - place), 0, -1):
            modality = entries.modality(words[place : place + size])
            if modality is not None:
                yield modality, found[place].start(), found[place + size - 1].end()
                place += size - 1
                break
        place += 1


@cache
def _entries() -> tuple[_Entries, _Entries]:
    """The strong and the weak entries of modality_words.yaml."""
    given = yaml.safe_load(
        files("phenolip.phenokg.captions").joinpath("modality_words.yaml").read_text(encoding="utf-8")
    )
    assert set(given) == set(get_args(Modality)), "modality_words.yaml has other modalities than records.py"
    strong, weak = ({entry: name for name in given for entry in given[name][kind]} for kind in ("strong", "weak"))
    return _made(strong), _made(weak)


def _made(modalities: dict[str, Modality]) -> _Entries:
    words = {word for entry in modalities for word in entry.split()}
    return _Entries(modalities, frozenset(word for word in words if word != word.lower()))
