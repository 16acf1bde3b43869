"""KnowledgeBook: a category or id to what is said of it and where that comes from; MedFILIP's dictionary, for HPO."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from phenolip.exceptions import ConfigurationError, UnknownTermError, near_matches
from phenolip.ontology.explanations import shorten
from phenolip.ontology.finding_template import FindingSlots, compose, count_words, mask_slots
from phenolip.ontology.term import Synonym
from phenolip.ontology.text import is_held_out

Source = Literal["user", "curated", "hpo_def", "hpo_comment", "parent", "name_only"]
#: Best first: a user's file, our list of visual explanations, and what the release says.
SOURCES: tuple[Source, ...] = get_args(Source)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a finding is, in words that follow "is".

    Attributes:
        text: The words, without a final stop; empty if nothing is known but the name.
        source: Where they come from.
    """

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class KnowledgeEntry:
    """All that the book has on one finding.

    Attributes:
        id: HPO id; the name, in small letters, where the ontology has no term.
        name: Preferred name.
        explanation: What it is, in words that follow "is"; None if nothing is known but the name.
        source: Where the explanation comes from.
        definition: Of the release; None if it has none, or where the book was read from a model's folder.
        comment: Of the release; None likewise.
        synonyms: Other names; of a book that was read from a model's folder, the EXACT ones.
        parents: Ids of the terms that this one is_a.
    """

    id: str
    name: str
    explanation: str | None
    source: Source
    definition: str | None = None
    comment: str | None = None
    synonyms: tuple[Synonym, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnowledgeBook:
    """Explanations of findings, and the texts that are made with them.

    Made by `build_knowledge_book` from a release, or read from a model's folder; both give the same texts.

    Attributes:
        entries: Id -> entry.
        release: HPO release; empty if there is none.
        hpo_sha256: Hash of the release's file.
        max_words: Longest explanation in a text, in words; None for no limit.
        aliases: Retired or alternative id -> current id.

    Example:
        >>> entry = KnowledgeEntry("cap", "apical cap", "a white rim over the top of the lung", "user")
        >>> book = KnowledgeBook({"cap": entry})
        >>> book.prompt("Apical cap", severity="mild", location="left")
        'mild left apical cap, where apical cap is a white rim over the top of the lung.'
    """

    entries: Mapping[str, KnowledgeEntry]
    release: str = ""
    hpo_sha256: str = ""
    max_words: int | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    _by_name: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_words is not None and self.max_words < 1:
            raise ConfigurationError(f"`max_words` must be at least 1, got {self.max_words}.")
        object.__setattr__(self, "_by_name", _names(self.entries.values()))

    def __len__(self) -> int:
        """Number of findings."""
        return len(self.entries)

    def resolve(self, category: str) -> KnowledgeEntry | None:
        """The entry of an id, an alternative id, a name or an EXACT synonym; None if there is none."""
        key = category.strip()
        if re.fullmatch(r"hp[:_]\d{7}", key, re.IGNORECASE):
            key = f"HP:{key[3:]}"
        entry = self.entries.get(self.aliases.get(key, key))
        return entry if entry is not None else self.entries.get(self._by_name.get(fold(category), ""))

    def explain(self, category: str, *, max_words: int | None = None) -> Explanation:
        """What a finding is and where that comes from.

        Args:
            category: What `resolve` takes.
            max_words: Longest text in words, cut at a sentence if one fits; by default the book's.

        Raises:
            UnknownTermError: The book has no such finding; the message names ones that read alike.
        """
        entry = self.resolve(category)
        if entry is None:
            hint = near_matches(category[:200], {entry.name for entry in self.entries.values()})
            hint = hint if hint.startswith(" Close") else ""  # else it would list all names
            raise UnknownTermError(f"The knowledge book has no finding {category[:80]!r}.{hint}")
        return Explanation(self._explanation(entry, max_words), entry.source)

    def prompt(
        self,
        category: str,
        *,
        hpo_id: str | None = None,
        severity: str | None = None,
        location: str | None = None,
        with_explanation: bool = True,
        max_tokens: int | None = None,
        count_tokens: Callable[[str], int] = count_words,
        rng: np.random.Generator | None = None,
        slot_dropout: float = 0.0,
        synonym_probability: float = 0.0,
    ) -> str:
        """The text of a finding, in training, in targets and at inference; the same for the same call unless `rng` is.

        A category that the book does not have is written without an explanation; `unknown` counts those.

        Args:
            category: What `resolve` takes; the text has the entry's name, or the category itself if there is none.
            hpo_id: The finding's term, if it is known; it counts before the category where the book has it.
            severity: How severe it is.
            location: Where it is.
            with_explanation: Say what it is.
            max_tokens: Longest text in the unit of `count_tokens`; see `compose`.
            count_tokens: Length of a text.
            rng: For training; leaves slots out and takes synonyms by chance.
            slot_dropout: Chance that severity, location and explanation are each left out, 0 to 1; needs `rng`.
            synonym_probability: Chance that the name is replaced by one of its EXACT synonyms, 0 to 1; needs `rng`.

        Raises:
            ConfigurationError: A chance is given without `rng` or is not between 0 and 1.
        """
        if rng is None and (slot_dropout or synonym_probability):
            raise ConfigurationError("`rng` must be given for `slot_dropout` and `synonym_probability`.")
        entry = (self.resolve(hpo_id) if hpo_id else None) or self.resolve(category)
        name = category if entry is None else entry.name
        if rng is not None and synonym_probability:
            name = sample_name(entry, rng, synonym_probability) or name
        explanation = self._explanation(entry) if entry is not None and with_explanation else None
        slots = FindingSlots(severity, location, name, explanation)
        if rng is not None and slot_dropout:
            slots = mask_slots(slots, slot_dropout, rng)
        return compose(*slots, max_tokens=max_tokens, count_tokens=count_tokens)

    def unknown(self, categories: Iterable[str]) -> Counter[str]:
        """Categories that the book does not have, each with how often it came."""
        counts = Counter(categories)
        return Counter({category: count for category, count in counts.items() if self.resolve(category) is None})

    def coverage(self) -> dict[Source, int]:
        """Number of findings that each source explains."""
        counts = Counter(entry.source for entry in self.entries.values())
        return {source: counts[source] for source in SOURCES}

    def _explanation(self, entry: KnowledgeEntry, max_words: int | None = None) -> str:
        limit = self.max_words if max_words is None else max_words
        if limit is None or not entry.explanation:
            return entry.explanation or ""
        return shorten(entry.explanation, lambda text: count_words(text) <= limit).rstrip(" .")


def fold(text: str) -> str:
    """A name as it is compared: blanks and case do not matter."""
    return " ".join(text.split()).casefold()


def _names(entries: Iterable[KnowledgeEntry]) -> dict[str, str]:
    """Folded name or EXACT synonym -> id; a name counts before a synonym, a lower id before a higher one."""
    ordered = sorted(entries, key=lambda entry: entry.id)
    names: dict[str, str] = {}
    for entry in ordered:
        names.setdefault(fold(entry.name), entry.id)
    for entry in ordered:
        for synonym in entry.synonyms:
            if synonym.scope == "EXACT":
                names.setdefault(fold(synonym.text), entry.id)
    return names


def sample_name(entry: KnowledgeEntry | None, rng: np.random.Generator, probability: float) -> str | None:
    """By chance an EXACT synonym of a finding, never one that is kept to test on; None for its own name.

    Two numbers are drawn whatever the finding, so that a generator gives every finding after it the same.

    Raises:
        ConfigurationError: The probability is not between 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ConfigurationError(f"`synonym_probability` must be from 0 to 1, got {probability}.")
    taken, place = rng.random(2)
    if entry is None or taken >= probability:
        return None
    usable = [s.text for s in entry.synonyms if s.scope == "EXACT" and not is_held_out(entry.id, s.text)]
    return usable[int(place * len(usable))] if usable else None
