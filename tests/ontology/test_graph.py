"""The graph against plain loops over `parents`, on the made-up ontology and on samples of the real one."""

import doctest
import math
import pickle
import random

import pytest

from phenolip.exceptions import OntologyError, UnknownTermError
from phenolip.ontology import PHENOTYPIC_ABNORMALITY, ObsoleteTerm, PhenotypeOntology, PhenotypeTerm, graph, text

ROOT = PHENOTYPIC_ABNORMALITY


def above(ontology, term_id):
    """Ancestors and self, by walking up."""
    found, open_ids = {term_id}, [term_id]
    while open_ids:
        for parent in ontology[open_ids.pop()].parents:
            if parent not in found:
                found.add(parent)
                open_ids.append(parent)
    return found


def shortest_way_up(ontology, term_id):
    """Edges from HP:0000118, by recursion over all ways up; None where there is no way."""
    if term_id == ROOT:
        return 0
    ways = [shortest_way_up(ontology, parent) for parent in ontology[term_id].parents]
    return min((way + 1 for way in ways if way is not None), default=None)


def sample(ontology, num=150):
    ids = list(ontology)
    return ids if len(ids) <= num else random.Random(0).sample(ids, num)


@pytest.fixture(params=["small", "hpo"])
def any_ontology(request):
    return request.getfixturevalue(request.param)


def test_counts_of_the_real_release(hpo):
    ids = hpo.term_ids()
    assert (hpo.release, hpo.source, len(hpo)) == ("2025-01-16", "hp.obo", 19_034)
    assert len(ids) == 18_387
    assert sum(hpo[i].definition is not None for i in ids if i != ROOT) == 15_817
    assert len(hpo.leaves()) == 12_659
    assert sum(len(hpo.parents(i)) > 1 for i in ids) == 3_626
    assert len(hpo.children(ROOT)) == 23
    assert len(hpo.obsolete) == 450
    assert sum(bool(term.replaced_by) for term in hpo.obsolete.values()) == 356
    synonyms = [synonym for i in ids if i != ROOT for synonym in hpo[i].synonyms]
    assert len(synonyms) == 23_094
    assert sum(synonym.type == "layperson" for synonym in synonyms) == 8_027


def test_a_real_term(hpo):
    term = hpo["HP:0001166"]
    assert (term.id, term.name) == ("HP:0001166", "Arachnodactyly")
    assert term.definition == "Abnormally long and slender fingers (spider fingers)."
    assert [(s.text, s.scope, s.type) for s in term.synonyms] == [
        ("Long slender fingers", "EXACT", "layperson"),
        ("Long, slender fingers", "EXACT", None),
        ("Spider fingers", "EXACT", "layperson"),
    ]
    assert term.parents == ("HP:0001238", "HP:0100807")
    assert term.alt_ids == ("HP:0001505",)
    assert term.xrefs == ("SNOMEDCT_US:62250003", "UMLS:C0003706")
    assert [hpo[i].name for i in hpo.systems(term.id)] == [
        "Abnormality of the musculoskeletal system",
        "Abnormality of limbs",
    ]


def test_ancestors_and_descendants(any_ontology):
    walked = {i: above(any_ontology, i) for i in any_ontology}
    for i in sample(any_ontology):
        assert any_ontology.ancestors(i, include_self=True) == tuple(sorted(walked[i]))
        assert any_ontology.ancestors(i) == tuple(sorted(walked[i] - {i}))
        below = sorted(other for other, ancestors in walked.items() if i in ancestors)
        assert any_ontology.descendants(i, include_self=True) == tuple(below)
        assert any_ontology.descendants(i) == tuple(other for other in below if other != i)
        assert any_ontology.children(i) == tuple(o for o in any_ontology if i in any_ontology[o].parents)


def test_depth_information_and_systems(any_ontology):
    walked = {i: above(any_ontology, i) for i in any_ontology}
    phenotypes = [i for i in any_ontology if ROOT in walked[i]]
    assert any_ontology.term_ids() == tuple(phenotypes)
    for i in sample(any_ontology):
        assert any_ontology.is_phenotype(i) == (ROOT in walked[i])
        if not any_ontology.is_phenotype(i):
            continue
        assert any_ontology.depth(i) == shortest_way_up(any_ontology, i)
        num_below = sum(i in walked[other] for other in phenotypes)
        assert any_ontology.information_content(i) == pytest.approx(math.log(len(phenotypes) / num_below), abs=1e-12)
        assert any_ontology.systems(i) == tuple(s for s in any_ontology.children(ROOT) if s in walked[i])


def test_leaves(small):
    assert small.leaves() == ("HP:9900003", "HP:9900007", "HP:9900008")
    assert small.leaves("HP:9900004") == ("HP:9900007",)
    assert small.leaves("HP:9900003") == ("HP:9900003",)


def test_lowest_common_ancestor_has_none_below_it(any_ontology):
    phenotypes = any_ontology.term_ids()
    chosen = random.Random(1)
    for _ in range(200):
        a, b = chosen.choice(phenotypes), chosen.choice(phenotypes)
        common = above(any_ontology, a) & above(any_ontology, b)
        lowest = any_ontology.lca(a, b)
        assert lowest in common and any_ontology.is_phenotype(lowest)
        assert not any(lowest in above(any_ontology, other) for other in common - {lowest})


def test_lowest_common_ancestor_by_hand(small):
    assert small.lca("HP:9900007", "HP:9900008") == "HP:9900005"
    assert small.lca("HP:9900006", "HP:9900007") == "HP:9900006"
    assert small.lca("HP:9900003", "HP:9900008") == ROOT
    assert small.lca("HP:9900009", "HP:9900008") == "HP:0000001"


def test_phenotypes_meet_in_a_phenotype():
    terms = [
        PhenotypeTerm(ROOT, "Root"),
        PhenotypeTerm("HP:0000002", "Elsewhere"),
        PhenotypeTerm("HP:0000003", "A", parents=(ROOT, "HP:0000002")),
        PhenotypeTerm("HP:0000004", "B", parents=(ROOT, "HP:0000002")),
    ]
    ontology = PhenotypeOntology(terms, release="1")
    assert ontology.lca("HP:0000003", "HP:0000004") == ROOT
    with pytest.raises(OntologyError, match="no common ancestor"):
        ontology.lca(ROOT, "HP:0000002")


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ("HP:0001505", "HP:0001166"),  # alternative id of Arachnodactyly
        ("HP:0000535", "HP:0045074"),  # replaced by two terms: the first
        ("HP:0007901", "HP:0000479"),  # replaced by one term, claimed by another as an alternative id
        ("HP:0001166", "HP:0001166"),
    ],
)
def test_old_ids_of_the_real_release(hpo, old, current):
    assert hpo.resolve(old) == current
    assert old in hpo
    assert hpo[old].id == current


def test_every_alternative_and_replaced_id_resolves(hpo):
    for term_id in hpo:
        assert all(hpo.resolve(alt) in hpo for alt in hpo[term_id].alt_ids)
    replaced = [term for term in hpo.obsolete.values() if term.replaced_by]
    assert all(hpo.resolve(term.id) == term.replaced_by[0] for term in replaced)
    lost = [i for i, term in hpo.obsolete.items() if not term.replaced_by and i not in hpo]
    assert lost
    with pytest.raises(UnknownTermError, match=f"{lost[0]} is obsolete in HPO release 2025-01-16"):
        hpo.resolve(lost[0])


def test_chains_and_rings_of_replacements(small):
    assert small.resolve("HP:9900011") == "HP:9900003"
    assert small.resolve("HP:9900020") == "HP:9900006"
    assert small.resolve("HP:9900016") == "HP:9900003"
    for ring in ("HP:9900013", "HP:9900014"):
        assert ring not in small
        with pytest.raises(UnknownTermError, match="no current term replaces it: choose a current term"):
            small.resolve(ring)
    with pytest.raises(UnknownTermError, match="consider HP:9900003 or HP:9900004"):
        small["HP:9900015"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("HP:9999999", "HP:9999999 is not in HPO release 2001-02-03"),
        ("HP:1", "An id must be 'HP:' plus seven digits and in HPO release 2001-02-03, got 'HP:1'"),
        ("red SQUARE", "An id is asked for, such as HP:9900006, got its name 'red SQUARE'"),
    ],
)
def test_unknown_ids(small, wrong, message):
    assert wrong not in small
    for question in (small.resolve, small.parents, small.ancestors, small.depth, small.__getitem__):
        with pytest.raises(UnknownTermError) as caught:
            question(wrong)
        assert message in str(caught.value)
        assert isinstance(caught.value, KeyError)


def test_no_depth_or_information_outside_the_phenotypes(small):
    for question in (small.depth, small.information_content):
        with pytest.raises(OntologyError, match=r"at or below HP:0000118 .* got HP:9900009 \(Manner\)"):
            question("HP:9900009")


def test_find(small, hpo):
    assert small.find("red  Square") == "HP:9900006"
    assert small.find("looks RED") == "HP:9900005"
    assert small.find("blocky shape") is None  # RELATED only
    assert hpo.find("spider fingers") == "HP:0001166"
    assert all(hpo[hpo.find(hpo[i].name)].name.casefold() == hpo[i].name.casefold() for i in sample(hpo))


def test_protocols_of_python(small):
    assert list(small) == sorted(small) and len(small) == 11
    assert None not in small and 118 not in small
    assert "11 terms" in repr(small) and "2001-02-03" in repr(small)
    again = pickle.loads(pickle.dumps(small))
    assert again.ancestors("HP:9900007") == small.ancestors("HP:9900007")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([("HP:0000118", ()), ("HP:0000118", ())], "defines the term HP:0000118 twice"),
        ([("HP:0000118", ()), ("HP:0000002", ("HP:0000009",))], "HP:0000002 has the parent HP:0000009"),
        ([("HP:0000118", ("HP:0000002",)), ("HP:0000002", ("HP:0000118",))], "is_a has a cycle"),
        ([("HP:0000118", ("HP:0000118",))], "is_a has a cycle"),
        ([("HP:0000002", ())], "has no term HP:0000118"),
        ([], "has no term HP:0000118"),
    ],
)
def test_broken_graphs(terms, message):
    with pytest.raises(OntologyError, match=message):
        PhenotypeOntology([PhenotypeTerm(i, "name", parents=parents) for i, parents in terms], release="1")


def test_a_current_term_wins_over_an_alternative_id():
    terms = [PhenotypeTerm(ROOT, "Root", alt_ids=("HP:0000002",)), PhenotypeTerm("HP:0000002", "Own")]
    ontology = PhenotypeOntology(terms, obsolete=[ObsoleteTerm("HP:0000003")], release="1")
    assert ontology["HP:0000002"].name == "Own"


@pytest.mark.parametrize("module", [graph, text])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
