"""The knowledge book of a release: for each term the best source that says what it is."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from phenolip.exceptions import ConfigurationError, UnknownTermError
from phenolip.ontology.explanations import as_predicate, explains, lower_first
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, TERM_ID, PhenotypeOntology
from phenolip.ontology.knowledge_book import SOURCES, KnowledgeBook, KnowledgeEntry, Source, fold
from phenolip.ontology.overlays import VisualExplanation, visual_explanations
from phenolip.ontology.term import PhenotypeTerm

logger = logging.getLogger(__name__)


def build_knowledge_book(
    ontology: PhenotypeOntology,
    overlay: Mapping[str, str] | None = None,
    *,
    sources: Collection[Source] = SOURCES,
    max_words: int | None = None,
) -> KnowledgeBook:
    """The book of a release: every phenotype, and the categories without a term that an overlay explains.

    Args:
        ontology: The release.
        overlay: A user's explanations, id or name -> text; see `read_overlay`. They come before all others.
        sources: Which may be used; "name_only" always may.
        max_words: Longest explanation in a text, in words.

    Raises:
        ConfigurationError: A source is unknown.
    """
    if unknown := set(sources) - set(SOURCES):
        raise ConfigurationError(f"`sources` must be of {', '.join(SOURCES)}, got {sorted(map(str, unknown))}.")
    curated = {row.key: row for row in visual_explanations()} if "curated" in sources else {}
    users, own_categories = _by_id(ontology, overlay or {}) if "user" in sources else ({}, {})
    texts = _Texts(ontology, users, curated, frozenset(sources))
    entries = {term_id: texts.entry(ontology[term_id]) for term_id in ontology.term_ids()}
    for key in users:  # terms that are no phenotypes, such as modifiers
        entries.setdefault(key, texts.entry(ontology[key]))
    for row in curated.values():
        # an id that this release lacks explains nothing in it, nor does a name that is a term of its own there
        if not TERM_ID.fullmatch(row.key) and ontology.find(row.key) is None:
            entries[fold(row.key)] = _category(row.name, row.text, "curated")
    for name, text in own_categories.items():
        entries[fold(name)] = _category(name, text, "user")
    return KnowledgeBook(
        entries,
        release=ontology.release,
        hpo_sha256=ontology.sha256,
        max_words=max_words,
        aliases=_aliases(ontology, entries),
    )


@dataclass(frozen=True)
class _Texts:
    """The chain of sources of a release's terms."""

    ontology: PhenotypeOntology
    users: Mapping[str, str]
    curated: Mapping[str, VisualExplanation]
    sources: frozenset[Source]

    def entry(self, term: PhenotypeTerm) -> KnowledgeEntry:
        text, source = self.own(term) or self.of_a_parent(term) or (None, "name_only")
        return KnowledgeEntry(
            id=term.id,
            name=term.name,
            explanation=text,
            source=source,
            definition=term.definition,
            comment=term.comment,
            synonyms=term.synonyms,
            parents=term.parents,
        )

    def own(self, term: PhenotypeTerm) -> tuple[str, Source] | None:
        """What is said of the term itself."""
        if term.id in self.users:
            return as_predicate(self.users[term.id], term.name), "user"
        if term.id in self.curated:
            return as_predicate(self.curated[term.id].text, term.name), "curated"
        names = [synonym.text for synonym in term.synonyms if synonym.scope in ("EXACT", "RELATED")]
        if "hpo_def" in self.sources and term.definition and term.definition.strip(" ."):
            return as_predicate(term.definition, term.name, names), "hpo_def"
        if "hpo_comment" in self.sources and term.comment and explains(term.comment, term.name):
            return as_predicate(term.comment, term.name, names), "hpo_comment"
        return None

    def of_a_parent(self, term: PhenotypeTerm) -> tuple[str, Source] | None:
        """What is said of the most specific parent that has a text; of equals, of the one with the lowest id."""
        if "parent" not in self.sources or not self.ontology.is_phenotype(term.id):
            return None
        parents = [parent for parent in term.parents if self.ontology.is_phenotype(parent)]
        for parent in sorted(parents, key=lambda one: (-self.ontology.information_content(one), one)):
            told = self.own(self.ontology[parent]) if parent != PHENOTYPIC_ABNORMALITY else None
            if told is not None:
                return f"a type of {lower_first(self.ontology[parent].name)}: {told[0]}", "parent"
        return None


def _by_id(ontology: PhenotypeOntology, overlay: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The overlay's texts by current id, and by name where the ontology has no term.

    Of several keys that mean one term, its id counts before its name and that before a synonym, else the first.
    """
    texts: dict[str, tuple[int, str, str]] = {}
    categories: dict[str, str] = {}
    for key, text in overlay.items():
        if key in ontology:
            term_id, rank = ontology.resolve(key), 0
        elif (term_id := ontology.find(key)) is not None:
            rank = 1 if fold(ontology[term_id].name) == fold(key) else 2
        elif TERM_ID.fullmatch(key):
            raise UnknownTermError(f"The overlay explains {key}, which is not in HPO release {ontology.release}.")
        else:
            categories.setdefault(key, text)
            continue
        if term_id in texts and texts[term_id][2] != text:
            first, second = texts[term_id][1], key
            logger.warning("The overlay explains %s as %r and as %r; the id counts, then the name.", term_id, first,
                           second)  # fmt: skip
        if term_id not in texts or rank < texts[term_id][0]:
            texts[term_id] = (rank, key, text)
    return {term_id: text for term_id, (_, _, text) in texts.items()}, categories


def _category(name: str, text: str, source: Source) -> KnowledgeEntry:
    return KnowledgeEntry(fold(name), " ".join(name.split()), as_predicate(text, name), source)


def _aliases(ontology: PhenotypeOntology, entries: Mapping[str, KnowledgeEntry]) -> dict[str, str]:
    old = [old for entry in entries.values() if entry.id in ontology for old in ontology[entry.id].alt_ids]
    old += [term.id for term in ontology.obsolete.values() if term.replaced_by]
    current = {one: ontology.resolve(one) for one in old if one in ontology}
    return {one: term_id for one, term_id in sorted(current.items()) if one != term_id and term_id in entries}
