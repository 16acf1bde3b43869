"""Frozen records of an ontology release: a term, its synonyms, and what is left of an obsolete term."""

from dataclasses import dataclass

SCOPES = ("EXACT", "RELATED", "BROAD", "NARROW")


@dataclass(frozen=True, slots=True)
class Synonym:
    """Another wording of a term.

    Attributes:
        text: The wording, as in the release.
        scope: How its meaning relates to the term's: one of `SCOPES`.
        type: Register or form, such as "layperson", "abbreviation", "uk_spelling" or "plural_form"; None if unmarked.
    """

    text: str
    scope: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class PhenotypeTerm:
    """One current term of the release; tuples are sorted, so that equal content gives equal records.

    Attributes:
        id: "HP:" plus seven digits.
        name: The preferred label.
        definition: One or more sentences, or None.
        comment: Curators' remark, or None.
        synonyms: Other wordings, of every scope.
        parents: Ids of the terms that this one is_a.
        alt_ids: Retired ids that now mean this term.
        xrefs: Ids of the same idea in other vocabularies, such as "UMLS:C0003706".
    """

    id: str
    name: str
    definition: str | None = None
    comment: str | None = None
    synonyms: tuple[Synonym, ...] = ()
    parents: tuple[str, ...] = ()
    alt_ids: tuple[str, ...] = ()
    xrefs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObsoleteTerm:
    """A retired term: it has no place in the graph, only, perhaps, successors.

    Attributes:
        id: The retired id.
        name: Its last label; None if the release no longer gives one.
        replaced_by: Ids that take its place.
        consider: Ids that a curator might choose instead; never followed without a person's choice.
    """

    id: str
    name: str | None = None
    replaced_by: tuple[str, ...] = ()
    consider: tuple[str, ...] = ()
