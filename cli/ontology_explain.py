"""`phenolip ontology explain`: what a finding is or looks like, where that is from, what each source covers."""

import argparse
from typing import Any

from phenolip.ontology import PhenotypeOntology
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.ontology.overlays import read_overlay, visual_explanations


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `explain`."""
    parser.add_argument(
        "finding", nargs="?", help="an id, a name or an exact synonym; without it, only what each source covers"
    )
    parser.add_argument("--overlay", metavar="FILE", help="your own explanations: JSON or YAML, id or name -> text")
    parser.add_argument("--severity", help='for the prompt: "mild"')
    parser.add_argument("--location", help='for the prompt: "left lower lobe"')
    parser.add_argument("--max_words", type=int, metavar="N", help="cut the explanation at a sentence or word")


def explain(ontology: PhenotypeOntology, args: argparse.Namespace) -> dict[str, Any]:
    """The entry, its explanation and provenance, the prompt, and the number of findings that each source explains.

    Raises:
        UnknownTermError: The book has no such finding.
        DataError: The overlay cannot be used.
    """
    overlay = read_overlay(args.overlay) if args.overlay else None
    book = build_knowledge_book(ontology, overlay, max_words=args.max_words)
    record: dict[str, Any] = {} if args.finding is None else _finding(book, args)
    # a book holds the release's phenotypes and the findings that only an overlay knows
    phenotypes = [entry for entry in book.entries.values() if entry.id in ontology]
    return record | {
        "release": ontology.release,
        "phenotypes": len(phenotypes),
        "without_a_term": len(book) - len(phenotypes),
        "coverage": book.coverage(),
    }


def explanation_text(record: dict[str, Any]) -> str:
    """The record of `explain` as lines."""
    lines = []
    if "id" in record:
        source = record["source"] + (f": {record['sign']} ({record['modality']})" if "sign" in record else "")
        rows = [
            ("source", source),
            ("prompt", record["prompt"]),
            ("definition", record["definition"]),
            ("comment", record["comment"]),
        ]
        lines += [f"{record['id']}  {record['name']}", record["explanation"] or "(nothing is known but the name)", ""]
        lines += [f"{label:<12}{value}" for label, value in rows if value]
        lines.append("")
    lines.append(
        f"HPO release {record['release']}: {record['phenotypes']:,} phenotypes, and {record['without_a_term']:,} "
        "findings without a term, are explained by"
    )
    total = sum(record["coverage"].values())
    lines += [f"  {source:<12}{count:>7,}  {count / total:7.2%}" for source, count in record["coverage"].items()]
    return "\n".join(lines)


def _finding(book: KnowledgeBook, args: argparse.Namespace) -> dict[str, Any]:
    explanation = book.explain(args.finding)
    entry = book.resolve(args.finding)
    record = {
        "id": entry.id,
        "name": entry.name,
        "explanation": explanation.text,
        "source": explanation.source,
        "prompt": book.prompt(args.finding, severity=args.severity, location=args.location),
        "definition": entry.definition,
        "comment": entry.comment,
        "parents": list(entry.parents),
    }
    if explanation.source == "curated":
        listed = next(row for row in visual_explanations() if row.key.casefold() == entry.id.casefold())
        record |= {"sign": listed.sign, "modality": listed.modality}
    return record
