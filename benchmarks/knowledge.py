"""What the knowledge book covers: the release, the gallery's labels, links of captions and findings of reports.

python benchmarks/knowledge.py --data DIR --output FILE.json

DIR holds phenobench_gallery/metadata.jsonl (hpo_ids), medpix2/train.jsonl and dev.jsonl (caption, case_id) and
reports/iu_xray.jsonl (text). A label, a link or a finding counts as often as it occurs; of a MedPix case, whose
captions repeat, each term counts once. Nothing is fitted on these sets; the list of visual explanations was begun with
the gallery's frequent labels, so that its share there is no estimate for other data.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from phenolip.ontology import PhenotypeOntology, load_ontology
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.explanations import explains
from phenolip.ontology.finding_template import count_words
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.phenokg.findings.rule_extractor import RuleExtractor
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.provenance import write_json


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    ontology = load_ontology()
    book = build_knowledge_book(ontology)
    result = {
        "release": {"hpo": ontology.release, **book.coverage(), **_words(book), **_comments(ontology)},
        "gallery": sources(book, gallery_labels(args.data)),
        "medpix": sources(book, medpix_links(args.data, ontology)),
        "reports": sources(book, report_findings(args.data, ontology)),
    }
    write_json(args.output, result)
    print(json.dumps(result, indent=2))


def sources(book: KnowledgeBook, keys: Iterable[str]) -> dict[str, int]:
    """How many of the keys each source explains; "unknown" are those that the book does not have."""
    entries = Counter(keys)
    counts: Counter[str] = Counter()
    for key, count in entries.items():
        entry = book.resolve(key)
        counts["unknown" if entry is None else entry.source] += count
    return {"all": entries.total(), "distinct": len(entries), **counts}


def gallery_labels(data: Path) -> list[str]:
    """Ids of the labels of all images; the name where a label has none."""
    return [
        hpo_id or name
        for row in _rows(data / "phenobench_gallery" / "metadata.jsonl")
        for hpo_id, name in zip(row["hpo_ids"], row["phenotypes"], strict=True)
    ]


def medpix_links(data: Path, ontology: PhenotypeOntology) -> list[str]:
    """Ids of the phenotypes that the captions of a case name as present, each once a case."""
    linker = PhenotypeLinker(ontology)
    named = {
        (row["case_id"], link.hpo_id)
        for split in ("train", "dev")
        for row in _rows(data / "medpix2" / f"{split}.jsonl")
        for link in linker.link(row["caption"] or "")
        if link.assertion == "present"
    }
    return [hpo_id for _, hpo_id in sorted(named)]


def report_findings(data: Path, ontology: PhenotypeOntology) -> list[str]:
    """Ids, or names where there is none, of the findings that reports state as present."""
    extractor = RuleExtractor(ontology)
    return [
        finding.hpo_id or finding.category
        for row in _rows(data / "reports" / "iu_xray.jsonl")
        for finding in extractor.extract(row["text"])[0]
        if finding.assertion == "present"
    ]


def _words(book: KnowledgeBook) -> dict[str, float]:
    lengths = sorted(count_words(book.prompt(key)) for key in book.entries)
    return {"prompt_words_median": lengths[len(lengths) // 2], "prompt_words_95th": lengths[len(lengths) * 95 // 100]}


def _comments(ontology: PhenotypeOntology) -> dict[str, int]:
    """How many comments of terms with and without a definition pass as explanations."""
    counts: Counter[str] = Counter()
    for term in map(ontology.__getitem__, ontology.term_ids()):
        if term.comment:
            kind = "comments_with_definition" if term.definition else "comments_without_definition"
            counts[kind] += 1
            counts[f"{kind}_accepted"] += explains(term.comment, term.name)
    return dict(counts)


def _rows(path: Path) -> Iterable[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    main()
