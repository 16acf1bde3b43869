"""The sides of `linking_peers.py`: our linker, and two published ones in an environment of their own."""

import json
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from worker import serve

Link = Callable[[str], set[str]]


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Facts and the steps of a side: `step` links the texts once and returns how many terms were found."""
    rows = json.loads(Path(settings["rows"]).read_text(encoding="utf-8"))
    facts, link = {"ours": _ours, "FastHPOCR": _fast_hpo_cr, "fenominal": _fenominal}[settings["side"]](settings)

    def step() -> float:
        return float(sum(len(link(text)) for text in rows["texts"]))

    def write() -> float:
        found = {name: [sorted(link(text)) for text in texts] for name, texts in rows["documents"].items()}
        Path(settings["found"]).write_text(json.dumps(found), encoding="utf-8")
        return 0.0

    return facts, {"step": step, "write": write}


def _ours(settings: dict[str, Any]) -> tuple[dict[str, Any], Link]:
    from phenolip.ontology import load_ontology
    from phenolip.phenokg.link_phenotypes import PhenotypeLinker

    linker = PhenotypeLinker(load_ontology(settings["obo"]))
    return {}, lambda text: {link.hpo_id for link in linker.link(text) if link.assertion != "absent"}


def _fast_hpo_cr(settings: dict[str, Any]) -> tuple[dict[str, Any], Link]:
    from FastHPOCR.cr.CRIndexKB import CRIndexKB
    from FastHPOCR.HPOAnnotator import HPOAnnotator
    from FastHPOCR.IndexHPO import IndexHPO

    words = defaultdict(list)

    def words_of_cluster(_: CRIndexKB, cluster: str, base_clusters: dict[str, str]) -> list[str]:
        if not words:
            for word, its_cluster in base_clusters.items():
                words[its_cluster].append(word)
        return list(words[cluster])

    # For each cluster its index looks through all words, and had not ended after 12 minutes; the answer is the same.
    CRIndexKB.compileClusterList = words_of_cluster

    folder = Path(settings["index"])
    if not (folder / "hp.index").exists():
        folder.mkdir(parents=True, exist_ok=True)
        IndexHPO(settings["obo"], str(folder)).index()
    annotator = HPOAnnotator(str(folder / "hp.index"))
    facts = {"version": version("FastHPOCR")}
    return facts, lambda text: {found.getHPOUri() for found in annotator.annotate(text, longestMatch=True)}


def _fenominal(settings: dict[str, Any]) -> tuple[dict[str, Any], Link]:
    from fenominal import Fenominal

    miner = Fenominal(settings["json"])

    def link(text: str) -> set[str]:
        return {found["termId"] for found in json.loads(miner.map_text(text)) if not found["excluded"]}

    return {"version": version("fenominal")}, link


if __name__ == "__main__":
    serve(build)
