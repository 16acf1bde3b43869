"""The paper's rule, errors included."""

import random

import pytest

from phenolip.ontology import load_ontology
from phenolip.phenokg.linking.paper_linking import PaperLinker, plain_text


@pytest.fixture(scope="module")
def linker():
    return PaperLinker(load_ontology())


def names(linker, text):
    return [link.name for link in linker.link(text)]


def test_it_finds_names_inside_other_words(linker):
    assert names(linker, "Narrow ear canal stenosis.") == ["Anal stenosis"]
    assert "Lobar holoprosencephaly" in names(linker, "A fetus with semilobar holoprosencephaly")


def test_it_knows_neither_synonyms_nor_inner_nodes_nor_single_words(linker):
    assert names(linker, "Broad nasal bridge? Abnormality of the eye. Ataxia. Seizures.") == []


def test_offsets_point_into_the_text(linker):
    text = "İn  (short,   philtrum): “Anal.  stenosis”"
    for link in linker.link(text):
        assert (
            plain_text(text[link.start : link.end]) == link.name.lower()
            and link.surface == text[link.start : link.end]
        )
    assert names(linker, text) == ["Short philtrum", "Anal stenosis"]


def test_it_equals_a_search_for_every_name():
    ontology = load_ontology()
    linker, random_ = PaperLinker(ontology), random.Random(0)
    leaves = [ontology[leaf].name for leaf in ontology.leaves() if " " in ontology[leaf].name]
    for _ in range(5):
        text = " xx".join(random_.sample(leaves, 6)).upper()
        plain = plain_text(text)
        expected = sorted(name for name in leaves if plain_text(name) in plain)
        assert sorted(set(names(linker, text))) == expected
