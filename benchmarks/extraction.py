"""How well and how fast findings are extracted by rules, against the MeSH indexing of real chest X-ray reports.

python benchmarks/extraction.py --reports FILE.jsonl --output FILE.json

FILE.jsonl holds rows {"uid", "text", "mesh": ["Pleural Effusion/left/small", ...]}. By the sha256 of the uid, two
thirds are the development part, on which the lists and rules were made, and the last third was held out. A heading
counts as found where a finding asserted present has one of its names; a side or grade, where the indexing gives
exactly one for a found heading, where one of these findings names it and no other. The indexing is incomplete, so
precision has a ceiling. Time is processor time of one thread, median and range of several rounds.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from phenolip.ontology import load_ontology
from phenolip.phenokg.findings.finding_records import Finding
from phenolip.phenokg.findings.rule_extractor import RuleExtractor

ROUNDS = 7
SIDES = frozenset(("left", "right", "bilateral"))
GRADES = frozenset(("borderline", "mild", "moderate", "severe"))
#: Heading of the indexing -> parts of the names that its findings have.
HEADINGS = {
    "Cardiomegaly": ("cardiomegaly",),
    "Pulmonary Atelectasis": ("atelectasis",),
    "Pleural Effusion": ("effusion",),
    "Pneumothorax": ("pneumothorax",),
    "Pneumonia": ("pneumonia",),
    "Pulmonary Edema": ("edema",),
    "Pulmonary Congestion": ("congestion",),
    "Emphysema": ("emphysema",),
    "Pulmonary Emphysema": ("emphysema",),
    "Pulmonary Disease, Chronic Obstructive": ("copd",),
    "Calcified Granuloma": ("granuloma",),
    "Granulomatous Disease": ("granuloma",),
    "Nodule": ("nodule",),
    "Mass": ("mass",),
    "Consolidation": ("consolidation",),
    "Airspace Disease": ("airspace disease",),
    "Infiltrate": ("infiltrate",),
    "Scoliosis": ("scoliosis",),
    "Kyphosis": ("kyphosis", "kyphoscoliosis"),
    "Spondylosis": ("spondylosis",),
    "Osteophyte": ("osteophyte",),
    "Fractures, Bone": ("fracture",),
    "Hernia, Hiatal": ("hernia",),
    "Pulmonary Fibrosis": ("fibrosis",),
    "Cicatrix": ("scarring",),
    "Atherosclerosis": ("atherosclerosis",),
    "Opacity": ("opacity",),
}


def scores(rows: Sequence[dict], findings: Sequence[Sequence[Finding]]) -> dict[str, float]:
    """Micro F1 of the headings of each document; share of sides and of grades that agree."""
    count: Counter[str] = Counter()
    for row, found in zip(rows, findings, strict=True):
        qualifiers = _indexed(row["mesh"])
        present = [finding for finding in found if finding.assertion == "present"]
        for names in sorted(set(HEADINGS.values())):
            named = [finding for finding in present if any(name in finding.category.lower() for name in names)]
            is_gold = names in qualifiers
            count["true"] += is_gold and bool(named)
            count["wrong"] += not is_gold and bool(named)
            count["missed"] += is_gold and not named
            if is_gold and named:
                _compare(count, "side", qualifiers[names] & SIDES, [finding.location for finding in named])
                _compare(count, "grade", qualifiers[names] & GRADES, [finding.severity for finding in named])
    true, wrong, missed = count["true"], count["wrong"], count["missed"]
    return {
        "num_reports": len(rows),
        "precision": round(true / (true + wrong), 3),
        "recall": round(true / (true + missed), 3),
        "f1": round(2 * true / (2 * true + wrong + missed), 3),
        **{f"{kind}_agreement": round(count[kind] / count[f"num_{kind}s"], 3) for kind in ("side", "grade")},
        **{f"num_{kind}s": count[f"num_{kind}s"] for kind in ("side", "grade")},
    }


def _indexed(mesh: Sequence[str]) -> dict[tuple[str, ...], set[str]]:
    """Names of the headings of a report, with the qualifiers of each."""
    qualifiers: dict[tuple[str, ...], set[str]] = {}
    for entry in mesh:
        heading, *rest = entry.strip().split("/")
        if heading in HEADINGS:
            qualifiers.setdefault(HEADINGS[heading], set()).update(rest)
    return qualifiers


def _compare(count: Counter[str], kind: str, gold: set[str], slots: Sequence[str | None]) -> None:
    if len(gold) == 1:
        words = SIDES if kind == "side" else GRADES
        count[f"num_{kind}s"] += 1
        count[kind] += any(words.intersection((slot or "").split()) == gold for slot in slots)


def speed(extractor: RuleExtractor, texts: Sequence[str]) -> dict[str, float]:
    """Reports a second of one thread."""
    rates = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for text in texts:
            extractor.extract(text)
        rates.append(len(texts) / (time.process_time() - start))
    return {"median": round(statistics.median(rates)), "least": round(min(rates)), "most": round(max(rates))}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--part", choices=("development", "held_out", "both"), default="both")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.reports.open(encoding="utf-8")]
    rows.sort(key=lambda row: hashlib.sha256(row["uid"].encode()).hexdigest())
    border = 2 * len(rows) // 3
    parts = {"development": rows[:border], "held_out": rows[border:]}
    ontology = load_ontology()
    extractor = RuleExtractor(ontology)
    result = {
        "date": date.today().isoformat(),
        "release": ontology.release,
        "hardware": {"processor": platform.machine(), "num_cores": os.cpu_count()},
        "scores": {
            name: scores(part, [extractor.extract(row["text"])[0] for row in part])
            for name, part in parts.items()
            if args.part in (name, "both")
        },
        "reports_per_second": speed(extractor, [row["text"] for row in parts["development"]]),
    }
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
