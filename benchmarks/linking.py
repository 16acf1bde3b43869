"""How well and how fast texts are linked to phenotypes: our linker, the paper's rule and a plain dictionary.

python benchmarks/linking.py --data DIR --output FILE.json

DIR holds hpo_recognition/*.jsonl (doc_id, text, annotations with hpo_id) and phenobench_gallery/metadata.jsonl. The
plain dictionary knows every name and exact synonym as they stand, in lower case, between word boundaries, the longest
first. Time is processor time of one thread, texts of 200 words, median and range of several rounds; every round
measures all three, so that their ratio does not depend on what else the machine does.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import ahocorasick_rs

from phenolip.ontology import PhenotypeOntology, load_ontology
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.phenokg.linking.paper_linking import PaperLinker, plain_text

ROUNDS, WORDS, TEXTS = 9, 200, 600
SETS = ("gscplus_dev", "omim_val")
Link = Callable[[str], set[str]]


class Dictionary:
    """Names and exact synonyms to the letter, in lower case, between word boundaries."""

    def __init__(self, ontology: PhenotypeOntology) -> None:
        self._terms: dict[str, str] = {}
        for term_id in ontology.term_ids():
            term = ontology[term_id]
            exact = [synonym.text for synonym in term.synonyms if synonym.scope == "EXACT"]
            for text in (term.name, *exact):
                self._terms.setdefault(text.lower(), term_id)
        self._patterns = list(self._terms)
        self._automaton = ahocorasick_rs.AhoCorasick(self._patterns)

    def __call__(self, text: str) -> set[str]:
        lowered, behind, found = text.lower(), 0, set()
        matches = self._automaton.find_matches_as_indexes(lowered, overlapping=True)
        for number, start, end in sorted(matches, key=lambda match: (match[1], -match[2])):
            bounded = not (lowered[start - 1 : start].isalnum() or lowered[end : end + 1].isalnum())
            if bounded and start >= behind:
                found.add(self._terms[self._patterns[number]])
                behind = end
        return found


def document_scores(rows: list[dict], link: Link, ontology: PhenotypeOntology) -> dict[str, float]:
    """Micro precision, recall and F1 of the documents' terms, below HP:0000118, current ids."""
    true = wrong = missed = 0
    for row in rows:
        known = [annotation["hpo_id"] for annotation in row["annotations"]]
        gold = {ontology.resolve(hpo_id) for hpo_id in known if hpo_id in ontology or hpo_id in ontology.obsolete}
        gold = {hpo_id for hpo_id in gold if ontology.is_phenotype(hpo_id)}
        found = link(row["text"])
        true, wrong, missed = true + len(gold & found), wrong + len(found - gold), missed + len(gold - found)
    return {
        "documents": len(rows),
        "gold": true + missed,
        "precision": true / (true + wrong),
        "recall": true / (true + missed),
        "f1": 2 * true / (2 * true + wrong + missed),
    }


def gallery_table(rows: list[dict], clean: PhenotypeLinker, paper: PaperLinker, ontology: PhenotypeOntology) -> dict:
    """What each mode makes of the captions, against the labels that the authors show."""
    counts, invented = Counter(), Counter()
    for row in rows:
        labels = {ontology.resolve(hpo_id) for hpo_id in row["hpo_ids"] if hpo_id is not None}
        counts["labels without an id"] += row["hpo_ids"].count(None)
        by_paper = {link.hpo_id for link in paper.link(row["caption"])}
        links = clean.link(row["caption"])
        by_clean = {link.hpo_id for link in links if link.assertion != "absent"}
        # What a caption names in other words counts as the label too if it is more specific than the label.
        below = {hpo_id for label in labels for hpo_id in ontology.descendants(label)} & by_clean
        counts["labels"] += len(labels)
        counts["labels found, paper mode"] += len(labels & by_paper)
        counts["labels found, clean mode"] += len(labels & by_clean)
        counts["not labels, paper mode"] += len(by_paper - labels)
        counts["not labels, clean mode"] += len(by_clean - labels)
        counts["more specific than a label, clean mode"] += len(below - labels)
        absent = {link.hpo_id for link in links if link.assertion == "absent"} - by_clean
        counts["labels that the caption denies"] += len(labels & absent)
        for label in labels & by_paper:
            name = re.escape(plain_text(ontology[label].name))
            if not re.search(rf"(?<!\w){name}(?:e?s)?(?!\w)", plain_text(row["caption"])):
                counts["labels that are no words of the caption"] += 1
                counts["of these, found by clean mode (inflected)"] += label in by_clean
                if label not in by_clean:
                    invented[ontology[label].name] += 1
        counts["labels in neither mode"] += len(labels - by_paper - by_clean)
    return {"captions": len(rows), **counts, "invented labels": dict(invented.most_common())}


def texts_of_words(texts: Iterable[str]) -> list[str]:
    """Texts of `WORDS` words each, cut from the texts end to end."""
    words = " ".join(texts).split(" ")
    cut = [" ".join(words[place : place + WORDS]) for place in range(0, len(words) - WORDS + 1, WORDS)]
    return (cut * (TEXTS // len(cut) + 1))[:TEXTS]


def speeds(texts: list[str], links: dict[str, Callable[[str], object]]) -> dict[str, dict[str, float]]:
    """Texts a second of each, median and range over the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in links}
    for _ in range(ROUNDS):
        for name, link in links.items():
            start = time.process_time()
            for text in texts:
                link(text)
            seconds[name].append(time.process_time() - start)
    rates = {name: sorted(len(texts) / value for value in values) for name, values in seconds.items()}
    return {
        name: {"median": statistics.median(values), "least": values[0], "most": values[-1]}
        for name, values in rates.items()
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    ontology = load_ontology()
    start = time.perf_counter()
    clean = PhenotypeLinker(ontology)
    seconds_to_load = time.perf_counter() - start
    paper, dictionary = PaperLinker(ontology), Dictionary(ontology)
    read = {
        name: [json.loads(line) for line in (args.data / "hpo_recognition" / f"{name}.jsonl").open(encoding="utf-8")]
        for name in SETS
    }
    captions = [
        json.loads(line) for line in (args.data / "phenobench_gallery" / "metadata.jsonl").open(encoding="utf-8")
    ]

    def present(text: str) -> set[str]:
        return {link.hpo_id for link in clean.link(text) if link.assertion != "absent"}

    ways: dict[str, Link] = {
        "clean": present,
        "paper": lambda text: {link.hpo_id for link in paper.link(text)},
        "dictionary": dictionary,
    }
    abstracts = texts_of_words(row["text"] for rows in read.values() for row in rows)
    result = {
        "benchmark": "linking",
        "documents": {
            name: {way: document_scores(rows, link, ontology) for way, link in ways.items()}
            for name, rows in read.items()
        },
        "texts_per_second": {
            "abstracts": speeds(abstracts, {"clean": clean.link, "paper": paper.link, "dictionary": dictionary}),
            "captions": speeds(
                texts_of_words(row["caption"] for row in captions), {"clean": clean.link, "paper": paper.link}
            ),
        },
        "gallery": gallery_table(captions, clean, paper, ontology),
        "seconds_to_load": seconds_to_load,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "hpo_release": ontology.release,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "date": date.today().isoformat(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
