"""What can be said in words about a term, and which of its synonyms are kept from training to test on."""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology

_HELD_OUT_OF = 10  # one synonym in ten


@dataclass(frozen=True, slots=True)
class KnowledgeText:
    """One statement about a term.

    Attributes:
        kind: Where it comes from: the term's name, definition, a synonym, or an is_a relation.
        text: The statement.
    """

    kind: Literal["name", "definition", "synonym", "relation"]
    text: str


@dataclass(frozen=True, slots=True)
class HeldOutSynonym:
    """A synonym that no model is trained on: the query of the synonym-to-name test.

    Attributes:
        hpo_id: The term that it names.
        text: The wording.
        layperson: Whether the release marks it as a lay wording.
    """

    hpo_id: str
    text: str
    layperson: bool


def knowledge_texts(
    ontology: PhenotypeOntology,
    term_id: str,
    *,
    scopes: Collection[str] = ("EXACT",),
    exclude_held_out: bool = False,
) -> tuple[KnowledgeText, ...]:
    """The name, definition, synonyms and is_a relations of a term, as texts.

    A relation reads "<name> is a child phenotype of <parent's name>"; parents outside HP:0000118 are no phenotypes and
    give none. A text that another one of the term repeats but for case is left out.

    Args:
        ontology: The release.
        term_id: The term.
        scopes: Scopes of the synonyms to include.
        exclude_held_out: Leave out every text that equals, but for case, a held-out synonym of the term.

    Example:
        >>> from phenolip.ontology import PhenotypeTerm
        >>> eye = PhenotypeTerm("HP:0000478", "Abnormality of the eye", parents=("HP:0000118",))
        >>> ontology = PhenotypeOntology([PhenotypeTerm("HP:0000118", "Abnormality"), eye], release="2000-01-01")
        >>> [knowledge.text for knowledge in knowledge_texts(ontology, "HP:0000478")]
        ['Abnormality of the eye', 'Abnormality of the eye is a child phenotype of Abnormality']
    """
    term = ontology[term_id]
    texts = [KnowledgeText("name", term.name)]
    if term.definition:
        texts.append(KnowledgeText("definition", term.definition))
    texts += [KnowledgeText("synonym", synonym.text) for synonym in term.synonyms if synonym.scope in scopes]
    texts += [
        KnowledgeText("relation", f"{term.name} is a child phenotype of {ontology[parent].name}")
        for parent in term.parents
        if ontology.is_phenotype(parent)
    ]
    hidden = {held_out.text.casefold() for held_out in _held_out_of(ontology, term_id)} if exclude_held_out else set()
    distinct = {knowledge.text.casefold(): knowledge for knowledge in reversed(texts)}  # of equals, the first stays
    return tuple(
        knowledge
        for knowledge in texts
        if distinct[knowledge.text.casefold()] is knowledge and knowledge.text.casefold() not in hidden
    )


def is_held_out(hpo_id: str, text: str) -> bool:
    """Whether a synonym belongs to the held-out tenth, by a hash of the term's current id and the folded text."""
    digest = sha256(f"{hpo_id}\t{text.casefold()}".encode()).hexdigest()
    return int(digest, 16) % _HELD_OUT_OF == 0


def held_out_synonyms(ontology: PhenotypeOntology, root: str = PHENOTYPIC_ABNORMALITY) -> list[HeldOutSynonym]:
    """Held-out EXACT synonyms of `root` and all below it, by id; those equal to the name but for case are no test."""
    return [held_out for term_id in ontology.term_ids(root) for held_out in _held_out_of(ontology, term_id)]


def _held_out_of(ontology: PhenotypeOntology, term_id: str) -> list[HeldOutSynonym]:
    term = ontology[term_id]
    name = term.name.casefold()
    return [
        HeldOutSynonym(term.id, synonym.text, synonym.type == "layperson")
        for synonym in term.synonyms
        if synonym.scope == "EXACT" and synonym.text.casefold() != name and is_held_out(term.id, synonym.text)
    ]
