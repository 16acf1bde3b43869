"""How the weights of `phenolip.inference` were chosen, and what they gain on data that did not choose them.

Images (by caption) and phenotypes (by id) are split into two halves by a hash. Of each family of settings (texts,
relatives, both) the one with the best mean of four metrics on one half is scored on the other, and the other way
round, so that every query is scored by a setting that its own value had no part in choosing. The halves are not wholly
apart: a phenotype of one half ranks the images of both, so that labels of the other half's images help to choose, and
images of one case or article may lie in both. Gains over names alone are paired, with 95 % bootstrap intervals over
queries. Beside them: every setting on all queries, which flatters the best of them, and the organ system read off the
best candidate against that of the largest rolled-up probability.

  about 2 minutes on one core for 400 images and 430 candidates:
    python benchmarks/zero_shot_weights.py --model runs/mini/stage2 --data DIR --output weights.json
"""

import argparse
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.load import load_pairs
from phenolip.eval.evaluators.base import EvaluationPairs, MemoEncoder
from phenolip.eval.evaluators.retrieval import transpose
from phenolip.eval.evaluators.zero_shot import DEFAULT_PROMPTS
from phenolip.eval.metrics.bootstrap import mean_intervals
from phenolip.eval.metrics.ranking import rank_candidates
from phenolip.inference.encoder import Encoder
from phenolip.inference.hierarchy import lin_relatives, mix_embeds, path_relatives, with_ancestors
from phenolip.inference.term_texts import embed_terms
from phenolip.inference.true_path import TermHierarchy
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import git_commit, hardware, package_versions, write_json

METRICS = ("zero_shot_top1", "zero_shot_top5", "i2p_hit_at_10", "p2i_hit_at_10")
NAMES, ALONE = "names", "no relatives"
TEXTS = {NAMES: {"name": 1.0}} | {
    f"{' + '.join(kinds)} at {weight}": {"name": 1.0} | dict.fromkeys(kinds, weight)
    for kinds in (("synonyms",), ("definition",), ("synonyms", "definition"))
    for weight in (0.25, 0.5, 1.0)
}
RELATIVES = {ALONE: None}
RELATIVES |= {f"lin power {p} alpha {a}": ("lin", p, a) for p in (2, 4, 8) for a in (0.25, 0.5)}
RELATIVES |= {f"path decay {a} alpha {a}": ("path", a, a) for a in (0.25, 0.5)}
FAMILIES = {
    "texts": [(text, ALONE) for text in TEXTS],
    "relatives": [(NAMES, relatives) for relatives in RELATIVES],
    "texts and relatives": [(text, relatives) for text in TEXTS for relatives in RELATIVES],
}


def main() -> None:
    """Encodes once, scores every setting, prints the tables and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="Pairs that the model was not trained on.")
    parser.add_argument("--output", type=Path, required=True, help="A JSON file.")
    arguments = parser.parse_args()
    ontology = load_ontology()
    pairs = EvaluationPairs.from_dataset(load_pairs(arguments.data, ontology=ontology), ontology)
    encoder = Encoder.from_pretrained(arguments.model)
    memo = MemoEncoder(encoder)
    images = pairs.embed_images(memo)
    terms = with_ancestors(ontology, pairs.candidate_ids)
    settings = dict(candidate_embeds(memo, ontology, terms, len(pairs.candidate_ids)))
    values = {setting: per_query(pairs, images, embeds) for setting, embeds in settings.items()}
    halves = query_halves(pairs)
    rows = {"names alone": values[NAMES, ALONE]}
    chosen = {}
    for family, members in FAMILIES.items():
        chosen[family], rows[f"{family}, cross-validated"] = cross_validate(values, members, halves)
    rows |= {f"{text}; {relatives}": values[text, relatives] for text, relatives in values}
    table = {name: summary(row, values[NAMES, ALONE]) for name, row in rows.items()}
    table["organ system"] = system_accuracy(pairs, ontology, encoder.logit_scale * images @ settings[NAMES, ALONE].T)
    for name, columns in table.items():
        sys.stdout.write(f"{name:62s} " + "  ".join(map(describe, columns.values())) + "\n")
    for family, pair in chosen.items():
        sys.stdout.write(f"chosen for {family}: " + " | ".join("; ".join(setting) for setting in pair) + "\n")
    about = {"date": date.today().isoformat(), "git_commit": git_commit(), "hardware": hardware()}
    about |= {"package_versions": package_versions(), "model": arguments.model, "data": arguments.data}
    write_json(arguments.output, {"metrics": METRICS, "table": table, "chosen": chosen, **about})


def candidate_embeds(encoder: MemoEncoder, ontology: PhenotypeOntology, terms: tuple[str, ...], num_candidates: int):
    """Each setting and the (P, D) embeddings of the candidates under it; the candidates are the first of the terms."""
    weights = {}
    for name, form in RELATIVES.items():
        if form is not None:
            kind, value, _ = form
            weights[name] = (
                lin_relatives(ontology, terms, power=value)
                if kind == "lin"
                else path_relatives(ontology, terms, decay=value)
            )
    for text, kinds in TEXTS.items():
        embeds = embed_terms(
            encoder.encode_texts, ontology, terms, texts=tuple(kinds), prompts=DEFAULT_PROMPTS, weights=kinds
        )
        for name, form in RELATIVES.items():
            mixed = embeds if form is None else mix_embeds(embeds, weights[name], alpha=form[2])
            yield (text, name), mixed[:num_candidates]


def per_query(pairs: EvaluationPairs, images: NDArray, embeds: NDArray) -> list[NDArray]:
    """The value of each query under each of METRICS."""
    answered = [row for row, columns in enumerate(pairs.labels) if len(columns)]
    hits = rank_candidates(images[answered], embeds, [pairs.labels[row] for row in answered], (1, 5, 10)).hits
    shown = transpose(pairs.labels, len(embeds))  # every candidate occurs in the data
    return [*hits.T, rank_candidates(embeds, images, shown, (10,)).hits[:, 0]]


def query_halves(pairs: EvaluationPairs) -> list[NDArray]:
    """For each of METRICS which half each query is in."""
    by_image = [half(pairs.captions[row].casefold()) for row, columns in enumerate(pairs.labels) if len(columns)]
    return [np.array(by_image)] * 3 + [np.array([half(hpo_id) for hpo_id in pairs.candidate_ids])]


def half(text: str) -> int:
    """0 or 1 by a hash."""
    return int(sha256(text.encode()).hexdigest(), 16) % 2


def cross_validate(values: dict, members: list, halves: list[NDArray]) -> tuple[list, list[NDArray]]:
    """The setting chosen on each half, and every query's value under the one chosen on the other half."""
    result = [np.empty(len(column)) for column in halves]
    chosen = []
    for part in (0, 1):

        def quality(member: tuple[str, str], part: int = part) -> float:
            return float(np.mean([v[h == part].mean() for v, h in zip(values[member], halves, strict=True)]))

        chosen.append(max(members, key=quality))
        for column, value, where in zip(result, values[chosen[-1]], halves, strict=True):
            column[where != part] = value[where != part]
    return chosen, result


def summary(row: list[NDArray], baseline: list[NDArray]) -> dict[str, dict]:
    """Mean and interval of each metric, and of its paired difference from the baseline."""
    table = {}
    for metric, value, names in zip(METRICS, row, baseline, strict=True):
        gain = (value - names)[:, None]
        table[metric] = {
            "value": float(value.mean()),
            "ci95": mean_intervals(value[:, None])[0].tolist(),
            "gain": float(gain.mean()),
            "gain_ci95": mean_intervals(gain)[0].tolist(),
        }
    return table


def system_accuracy(pairs: EvaluationPairs, ontology: PhenotypeOntology, logits: NDArray) -> dict[str, dict]:
    """Share of images where the system is one of a label's: of the best candidate (any of its), and rolled up."""
    terms = with_ancestors(ontology, pairs.candidate_ids, min_information=0.0)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    own = np.pad(odds / odds.sum(axis=1, keepdims=True), ((0, 0), (0, len(terms) - logits.shape[1])))
    systems = [place for place, i in enumerate(terms) if PHENOTYPIC_ABNORMALITY in ontology.parents(i)]
    largest = TermHierarchy(ontology, terms).roll_up(own)[:, systems].argmax(axis=1)
    of_best, rolled = [], []
    for row, labels in enumerate(pairs.labels):
        if len(labels):
            right = {system for label in labels for system in ontology.systems(pairs.candidate_ids[label])}
            of_best.append(bool(right & set(ontology.systems(pairs.candidate_ids[logits[row].argmax()]))))
            rolled.append(terms[systems[largest[row]]] in right)
    both = np.array([of_best, rolled], float)
    gain = (both[1] - both[0])[:, None]
    of_best, rolled = ({"value": float(v.mean()), "ci95": mean_intervals(v[:, None])[0].tolist()} for v in both)
    rolled |= {"gain": float(gain.mean()), "gain_ci95": mean_intervals(gain)[0].tolist()}
    return {"of_the_best_candidate": of_best, "rolled_up": rolled}


def describe(entry: dict) -> str:
    """One cell: value and gain in percent."""
    low, up = (100 * bound for bound in entry.get("gain_ci95", entry["ci95"]))
    gain = f"{100 * entry['gain']:+.1f} " if "gain" in entry else ""
    return f"{100 * entry['value']:.1f} {gain}[{low:+.1f}, {up:+.1f}]"


if __name__ == "__main__":
    main()
