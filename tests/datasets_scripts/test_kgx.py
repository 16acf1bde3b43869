"""KGX tables, read back by a reader of its own and compared with the ontology edge by edge."""

from types import SimpleNamespace

import pytest

from phenolip.datasets_scripts.kgx import EDGE_COLUMNS, NODE_COLUMNS, export_kgx
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym, load_ontology


def read(path):
    header, *lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    columns = header.split("\t")
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == len(columns) for row in rows)
    return columns, [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kgx")
    ontology = load_ontology()
    return ontology, folder, export_kgx(ontology, None, folder)


def test_every_term_is_a_node(release):
    ontology, folder, counts = release
    columns, nodes = read(folder / "nodes.tsv")
    assert columns == list(NODE_COLUMNS)
    assert [node["id"] for node in nodes] == list(ontology) and counts["num_nodes"] == len(nodes)
    for node in nodes:
        term = ontology[node["id"]]
        assert node["name"] == term.name
        assert " ".join(node["description"].split()) == " ".join((term.definition or "").split())
        assert node["synonym"] == "|".join(synonym.text for synonym in term.synonyms)
        assert node["xref"] == "|".join(term.xrefs) and node["provided_by"] == "infores:hpo"
        assert (node["category"] == "biolink:PhenotypicFeature") == ontology.is_phenotype(term.id)


def test_every_is_a_is_an_edge_and_no_other(release):
    ontology, folder, counts = release
    columns, edges = read(folder / "edges.tsv")
    assert columns == list(EDGE_COLUMNS)
    expected = {(term, parent) for term in ontology for parent in ontology[term].parents}
    assert len(edges) == len(expected) == counts["num_edges"] == len({edge["id"] for edge in edges})
    assert {(edge["subject"], edge["object"]) for edge in edges} == expected
    for name, value in (("predicate", "biolink:subclass_of"), ("relation", "rdfs:subClassOf"),
                        ("knowledge_level", "knowledge_assertion"), ("agent_type", "manual_agent"),
                        ("primary_knowledge_source", "infores:hpo")):  # fmt: skip
        assert {edge[name] for edge in edges} == {value}


def pair(figure_id, *links, pmcid="PMC1", doi=None):
    links = [SimpleNamespace(hpo_id=hpo_id, assertion=assertion) for hpo_id, assertion in links]
    return SimpleNamespace(article_id="a/b.xml", pmcid=pmcid, doi=doi, title="T\t1", figure_id=figure_id,
                           phenotypes=links)  # fmt: skip


def test_articles_mention_what_their_captions_name_as_present(tmp_path):
    ontology = PhenotypeOntology([PhenotypeTerm("HP:0000118", "Root")], release="x")
    pairs = [
        pair("f1", ("HP:0000118", "present"), ("HP:0000118", "present")),
        pair("f2", ("HP:0000118", "present")),
        pair("f3", ("HP:0000118", "absent"), ("HP:0000118", "family")),
        pair("f1", ("HP:0000118", "present"), pmcid=None, doi="10.1/x"),
        pair("f1", pmcid=None),
    ]
    assert export_kgx(ontology, pairs, tmp_path) == {"num_nodes": 4, "num_edges": 2}
    nodes, edges = read(tmp_path / "nodes.tsv")[1], read(tmp_path / "edges.tsv")[1]
    assert [node["id"] for node in nodes[1:]] == ["PMC:PMC1", "DOI:10.1/x", "phenokg:a/b.xml"]
    assert {node["name"] for node in nodes[1:]} == {"T 1"}
    assert [(edge["subject"], edge["object"], edge["figures"]) for edge in edges] == [
        ("PMC:PMC1", "HP:0000118", "f1|f2"), ("DOI:10.1/x", "HP:0000118", "f1"),
    ]  # fmt: skip
    assert {(edge["agent_type"], edge["predicate"]) for edge in edges} == {("text_mining_agent", "biolink:mentions")}


def test_what_the_format_cannot_write_is_replaced(tmp_path):
    term = PhenotypeTerm(
        "HP:0000118", 'A "name"', "Two\nlines\tand\r\u2028more | less", synonyms=(Synonym("a|b", "EXACT"),) * 2
    )
    export_kgx(PhenotypeOntology([term], release="x"), None, tmp_path)
    (node,) = read(tmp_path / "nodes.tsv")[1]
    assert (node["name"], node["description"]) == ('A "name"', "Two lines and  more | less")
    assert node["synonym"] == "a¦b|a¦b"
