"""The graph as KGX tables (Knowledge Graph Exchange): nodes.tsv and edges.tsv in the terms of the Biolink model.

Nodes are the terms and, where pairs are given, the articles; edges are the is_a relations and which article shows a
figure whose caption names a phenotype as present. https://github.com/biolink/kgx/blob/master/specification/kgx-format.md
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from phenolip.datasets_scripts.kg_tables import present_ids
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.term import PhenotypeTerm
from phenolip.phenokg.records import FigurePair

NODE_COLUMNS = ("id", "category", "name", "description", "synonym", "xref", "provided_by")
EDGE_COLUMNS = (
    *("id", "subject", "predicate", "object", "relation", "category", "knowledge_level", "agent_type"),
    *("primary_knowledge_source", "figures"),
)
_HPO, _OURS = "infores:hpo", "infores:phenolip"
_Row = dict[str, str | Sequence[str] | None]
_BREAKS = str.maketrans(dict.fromkeys("\t\n\r\v\f\x85\u2028\u2029", " "))


def export_kgx(ontology: PhenotypeOntology, pairs: Iterable[FigurePair] | None, folder: str | Path) -> dict[str, int]:
    """Write nodes.tsv and edges.tsv.

    Several values of a cell stand between ``|``. What the format cannot write is replaced: tabs and line breaks by
    spaces, a ``|`` within one of several values by ``¦``.

    Args:
        ontology: Every current term is a node.
        pairs: Figures with linked captions; None leaves articles out.
        folder: Made where it is missing; files of these names are replaced.

    Returns:
        Numbers of nodes and edges.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    articles, mentions = _articles(pairs or ())
    nodes = [_term_node(ontology, ontology[term_id]) for term_id in ontology]
    nodes += [
        {"id": node_id, "category": "biolink:Article", "name": title, "provided_by": _OURS}
        for node_id, title in articles.items()
    ]
    edges = [*_is_a_edges(ontology), *_mention_edges(mentions)]
    for name, columns, rows in (("nodes", NODE_COLUMNS, nodes), ("edges", EDGE_COLUMNS, edges)):
        with (folder / f"{name}.tsv").open("w", encoding="utf-8", newline="\n") as file:
            file.write("\t".join(columns) + "\n")
            file.writelines("\t".join(_cell(row.get(column)) for column in columns) + "\n" for row in rows)
    return {"num_nodes": len(nodes), "num_edges": len(edges)}


def _term_node(ontology: PhenotypeOntology, term: PhenotypeTerm) -> _Row:
    return {
        "id": term.id,
        "category": "biolink:PhenotypicFeature" if ontology.is_phenotype(term.id) else "biolink:OntologyClass",
        "name": term.name,
        "description": term.definition,
        "synonym": [synonym.text for synonym in term.synonyms],
        "xref": term.xrefs,
        "provided_by": _HPO,
    }


def _is_a_edges(ontology: PhenotypeOntology) -> Iterator[_Row]:
    for term_id in ontology:
        for parent_id in ontology.parents(term_id):
            yield {
                "id": f"{term_id}-subclass_of-{parent_id}",
                "subject": term_id,
                "predicate": "biolink:subclass_of",
                "object": parent_id,
                "relation": "rdfs:subClassOf",
                "category": "biolink:Association",
                "knowledge_level": "knowledge_assertion",
                "agent_type": "manual_agent",
                "primary_knowledge_source": _HPO,
            }


def _articles(pairs: Iterable[FigurePair]) -> tuple[dict[str, str], dict[tuple[str, str], list[str]]]:
    """Titles by article node, and by article and phenotype the figures whose captions name it as present."""
    titles: dict[str, str] = {}
    mentions: dict[tuple[str, str], dict[str, None]] = {}
    for pair in pairs:
        node_id = _article_node_id(pair)
        titles[node_id] = pair.title
        for hpo_id in present_ids(pair.phenotypes):
            mentions.setdefault((node_id, hpo_id), {})[pair.figure_id] = None
    return titles, {key: list(figures) for key, figures in mentions.items()}


def _article_node_id(pair: FigurePair) -> str:
    if pair.pmcid:
        return f"PMC:{pair.pmcid}"
    return f"DOI:{pair.doi}" if pair.doi else f"phenokg:{pair.article_id}"


def _mention_edges(mentions: Mapping[tuple[str, str], list[str]]) -> Iterator[_Row]:
    for (article_id, term_id), figures in mentions.items():
        yield {
            "id": f"{article_id}-mentions-{term_id}",
            "subject": article_id,
            "predicate": "biolink:mentions",
            "object": term_id,
            "relation": "IAO:0000142",
            "category": "biolink:InformationContentEntityToNamedThingAssociation",
            "knowledge_level": "not_provided",
            "agent_type": "text_mining_agent",
            "primary_knowledge_source": _OURS,
            "figures": figures,
        }


def _cell(value: str | Sequence[str] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.translate(_BREAKS)
    return "|".join(part.translate(_BREAKS).replace("|", "¦") for part in value)
