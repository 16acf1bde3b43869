"""Counts over the pairs of a PhenoKG build: systems, depths, head and tail, licences, captions, splits, assertions."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.kg_plots import draw
from phenolip.datasets_scripts.kg_tables import KgBuild, present_ids
from phenolip.exceptions import DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.records import FigurePair
from phenolip.phenokg.split_pairs import SPLITS
from phenolip.provenance import write_json

NUM_HEAD = 15
WORDS_PER_BIN = 10


def write_stats(
    folder: str | Path, output: str | Path, *, ontology: PhenotypeOntology | None = None
) -> dict[str, Any]:
    """Write stats.json and stats.png for the output folder of `phenolip kg build`.

    Args:
        folder: Of the build.
        output: Made where it is missing; files of these names are replaced.
        ontology: The release that the build linked against; None loads the installed one.

    Returns:
        The content of stats.json.
    """
    build = KgBuild(folder)
    ontology = ontology or load_ontology()
    build.check_release(ontology)
    stats = count_pairs(build.pairs(), ontology)
    if not stats["num_pairs"]:
        raise DataError(f"The build {folder} holds no pair; its manifest says why each figure was dropped.")
    Path(output).mkdir(parents=True, exist_ok=True)
    write_json(Path(output, "stats.json"), stats)
    draw(stats, Path(output, "stats.png"))
    return stats


def count_pairs(pairs: Iterable[FigurePair], ontology: PhenotypeOntology) -> dict[str, Any]:
    """What stats.json holds; a pair counts once for each phenotype, system and depth that its caption shows.

    Shown is what the caption names as present and the ontology has at or below HP:0000118. Memory grows with the
    numbers of articles and phenotypes, not with that of pairs.
    """
    splits, licenses, words, per_pair, assertions = (Counter() for _ in range(5))
    systems, depths, phenotypes = Counter(), Counter(), Counter()
    articles: dict[str, set[str]] = {split: set() for split in SPLITS}
    for pair in pairs:
        present = [hpo_id for hpo_id in present_ids(pair.phenotypes) if ontology.is_phenotype(hpo_id)]
        splits[pair.split] += 1
        articles[pair.split].add(pair.article_id)
        licenses[pair.license.spdx or pair.license.category] += 1
        words[len(pair.caption.split())] += 1
        per_pair[len(present)] += 1
        assertions.update(link.assertion for link in pair.phenotypes)
        phenotypes.update(present)
        depths.update({ontology.depth(hpo_id) for hpo_id in present})
        systems.update({system for hpo_id in present for system in ontology.systems(hpo_id)})
    return {
        "hpo_release": ontology.release,
        "num_pairs": splits.total(),
        "num_articles": sum(map(len, articles.values())),
        "num_phenotypes": len(phenotypes),
        "pairs_by_split": {split: splits[split] for split in SPLITS},
        "articles_by_split": {split: len(ids) for split, ids in articles.items()},
        "pairs_by_system": _named(systems, ontology),
        "pairs_by_depth": dict(sorted(depths.items())),
        "head": _named(phenotypes, ontology, NUM_HEAD),
        "pairs_by_rank": sorted(phenotypes.values(), reverse=True),
        "num_phenotypes_of_one_pair": sum(number == 1 for number in phenotypes.values()),
        "pairs_by_license": dict(licenses.most_common()),
        "caption_words": _describe_lengths(words),
        "pairs_by_num_phenotypes": dict(sorted(per_pair.items())),
        "links_by_assertion": dict(assertions.most_common()),
    }


def _named(numbers: Counter[str], ontology: PhenotypeOntology, limit: int | None = None) -> list[dict[str, Any]]:
    """The most frequent first; among equals, by id."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [{"hpo_id": hpo_id, "name": ontology[hpo_id].name, "num_pairs": number} for hpo_id, number in ordered]


def _describe_lengths(words: Counter[int]) -> dict[str, Any]:
    lengths = np.array(sorted(words), dtype=np.int64)
    numbers = np.array([words[length] for length in lengths], dtype=np.int64)
    if not len(lengths):
        return {}
    reached = np.cumsum(numbers) / numbers.sum()
    bins = np.bincount(lengths // WORDS_PER_BIN, weights=numbers).astype(int)
    return {
        "mean": float((lengths * numbers).sum() / numbers.sum()),
        **{name: int(lengths[np.searchsorted(reached, share)]) for name, share in
           (("median", 0.5), ("percentile_95", 0.95))},
        "max": int(lengths[-1]),
        "words_per_bin": WORDS_PER_BIN,
        "pairs_by_bin": bins.tolist(),
    }  # fmt: skip
