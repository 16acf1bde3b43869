"""An HPO release in, typed terms and their graph out; needs no torch."""

from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.reader import installed_release, load_ontology
from phenolip.ontology.similarity import lin, lin_matrix, lin_similarities, related_mask, resnik
from phenolip.ontology.term import ObsoleteTerm, PhenotypeTerm, Synonym
from phenolip.ontology.text import HeldOutSynonym, KnowledgeText, held_out_synonyms, is_held_out, knowledge_texts

__all__ = [
    "PHENOTYPIC_ABNORMALITY",
    "HeldOutSynonym",
    "KnowledgeText",
    "ObsoleteTerm",
    "PhenotypeOntology",
    "PhenotypeTerm",
    "Synonym",
    "held_out_synonyms",
    "installed_release",
    "is_held_out",
    "knowledge_texts",
    "lin",
    "lin_matrix",
    "lin_similarities",
    "load_ontology",
    "related_mask",
    "resnik",
]
