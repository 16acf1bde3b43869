"""How often caption words name the right modality, and what the check of a model's claims catches.

python benchmarks/refinement.py --data DIR --output FILE.json

DIR holds medpix2/{train,dev}.jsonl and phenobench_gallery/metadata.jsonl. Modality words were chosen on MedPix's train
rows, so dev is what counts. The check was written on captions with an even SHA-256 and is measured on the odd ones:
each of their sentences as it stands should pass against its caption, and each with one thing changed should not.
"""

import argparse
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from phenolip.ontology import load_ontology
from phenolip.phenokg.captions.grounding import Grounding
from phenolip.phenokg.captions.modality_words import find_modality
from phenolip.phenokg.captions.sentences import sentences
from phenolip.phenokg.link_phenotypes import PhenotypeLinker

CAPTIONS, SENTENCES = 500, 4  # captions, and sentences of each
MODALITIES = {"CT": "CT", "MR": "MRI"}
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


def read(path: Path) -> list[dict]:
    """Rows of a .jsonl file."""
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def modality_counts(rows: Iterable[dict]) -> dict[str, int]:
    """Distinct captions whose words name the right modality, another, or none."""
    counts: Counter[str] = Counter()
    for caption, gold in sorted({(row["caption"], MODALITIES[row["modality"]]) for row in rows}):
        found = find_modality([caption])
        counts["none" if found is None else "right" if found.modality == gold else "wrong"] += 1
    return dict(counts)


def changed(
    sentence: str, names: list[str], linker: PhenotypeLinker, draw: random.Random
) -> Iterator[tuple[str, str]]:
    """The sentence with one thing changed, and what: none that the sentence does not have."""
    if re.search(r"\d", sentence):
        yield "number", re.sub(r"\d+", lambda match: str(int(match.group()) + draw.randrange(3, 9)), sentence, count=1)
    if SIDE.search(sentence):
        yield "side", SIDE.sub(lambda match: "right" if match.group().lower() == "left" else "left", sentence, count=1)
    if stated := [link for link in linker.link(sentence) if link.assertion == "present"]:
        link = draw.choice(stated)
        yield "phenotype", f"{sentence[: link.start]}{draw.choice(names).lower()}{sentence[link.end :]}"
        yield "denied", f"{sentence[: link.start]}no {sentence[link.start :]}"
    if re.search(r"\bno\b", sentence):
        yield "denial taken out", re.sub(r"\bno\b", "", sentence, count=1)


def claim_counts(rows: Iterable[dict], linker: PhenotypeLinker, remainder: int) -> dict[str, dict[str, float]]:
    """For each kind of sentence how many there were and the share that passed."""
    digest = {row["caption"]: hashlib.sha256(row["caption"].encode()).hexdigest() for row in rows}
    labels = {row["caption"]: row["phenotypes"] for row in rows if int(digest[row["caption"]], 16) % 2 == remainder}
    sharing = defaultdict(list)
    for caption, names in labels.items():
        for name in names:
            sharing[name].append(caption)
    draw, names, passed = random.Random(0), list(sharing), defaultdict(list)
    for caption in sorted(labels, key=digest.__getitem__)[:CAPTIONS]:
        grounding = Grounding([caption], linker)
        for sentence in list(sentences(caption))[:SENTENCES]:
            passed["as it stands"].append(grounding.problem(sentence) is None)
            for kind, text in changed(sentence, names, linker, draw):
                passed[kind].append(grounding.problem(text) is None)
        others = [other for name in labels[caption][:1] for other in sharing[name] if other != caption]
        if others:
            foreign = draw.choice(list(sentences(draw.choice(others))))
            passed["of another caption with the label"].append(grounding.problem(foreign) is None)
    return {kind: {"n": len(each), "passed": round(sum(each) / len(each), 3)} for kind, each in passed.items()}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    ontology = load_ontology()
    linker = PhenotypeLinker(ontology)
    gallery = read(args.data / "phenobench_gallery" / "metadata.jsonl")
    result = {
        "date": date.today().isoformat(),
        "hpo": ontology.release,
        "modality": {
            part: modality_counts(read(args.data / "medpix2" / f"{part}.jsonl")) for part in ("train", "dev")
        },
        "claims": {part: claim_counts(gallery, linker, place) for place, part in enumerate(("even", "odd"))},
    }
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
