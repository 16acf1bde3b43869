"""Checks that run beside every evaluation: controls that must be at chance, floors, collapse, arithmetic."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator
from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator, embed_with_prompts
from phenolip.eval.invariance import encoding_invariance
from phenolip.eval.metrics.answer_ranks import answer_ranks, score_chunks
from phenolip.eval.metrics.collapse import effective_rank, mean_pairwise_cosine
from phenolip.eval.metrics.rank_metrics import at_k
from phenolip.eval.per_query import Queries

ERRORS = 5.0  # standard errors that a control may lie from what is expected: one false alarm in two million
COLLAPSED_COSINE, COLLAPSED_RANK = 0.95, 2.0  # ours
FLOOR_WIDTH = 64
K = 10


class RandomEncoder:
    """A model that knows nothing: unit vectors drawn from a hash, equal for equal texts and for equal images."""

    has_images, name = True, "random"

    def __init__(self, sha256: Sequence[str], width: int = FLOOR_WIDTH) -> None:
        self._sha256, self._width = sha256, width

    def encode_images(self, images: Sequence[Any]) -> NDArray:
        """(U, D) vectors of the distinct images, by the hashes of their files."""
        return np.stack([self._vector(f"image {value}") for value in self._sha256[: len(images)]])

    def encode_texts(self, texts: Sequence[str]) -> NDArray:
        """(N, D) vectors of the texts."""
        return np.stack([self._vector(f"text {text}") for text in texts])

    def _vector(self, text: str) -> NDArray:
        seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        draw = np.random.default_rng(seed).normal(size=self._width)
        return (draw / np.linalg.norm(draw)).astype(np.float32)


def run_checks(
    pairs: EvaluationPairs,
    encoder: SupportsEncoding,
    metrics: Mapping[str, MetricValue],
    queries: Mapping[str, Queries],
    prompts: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """All checks of a run on image-caption pairs, for results.json.

    Args:
        pairs: The pairs that were scored.
        encoder: The model, which has encoded them before.
        metrics: The metrics of the run.
        queries: Beginning of a metric's name -> its queries.
        prompts: Templates of zero-shot classification.
        seed: Seed of the shuffles.
    """
    images = np.asarray(pairs.embed_images(encoder), np.float32)
    captions = np.asarray(encoder.encode_texts(pairs.captions), np.float32)
    sets = {"images": _distinct(images, pairs.image_codes), "captions": _distinct(captions, pairs.caption_codes)}
    checks: dict[str, Any] = {"label_shuffled": [shuffled_pairs(images, captions, seed)]}
    if any(len(row) for row in pairs.labels):
        names = np.asarray(embed_with_prompts(encoder, pairs.candidate_names, prompts), np.float32)
        sets["phenotype names"] = names
        checks["label_shuffled"].append(shuffled_labels(pairs, images, names, seed))
        checks["majority_class"] = majority_class(pairs, metrics)
    checks["random_floor"] = random_floor(pairs, prompts)
    checks["embedding_collapse"] = [collapse(name, embeds) for name, embeds in sets.items()]
    checks["arithmetic"] = arithmetic(metrics, queries)
    checks["invariance"] = encoding_invariance(getattr(encoder, "encoder", encoder), pairs.images, pairs.captions)
    return checks


def shuffled_pairs(images: NDArray, captions: NDArray, seed: int) -> dict[str, Any]:
    """Hit rate at 10 of images that are asked for the caption of another, drawn at random: k / N is expected."""
    answers = np.random.default_rng(seed).permutation(len(images))
    hits = at_k(answer_ranks(images, captions, list(answers[:, None])), K)[0]
    return _control("i2t_hit_at_10_strict", hits, min(K, len(images)) / len(images))


def shuffled_labels(pairs: EvaluationPairs, images: NDArray, names: NDArray, seed: int) -> dict[str, Any]:
    """Top-1 accuracy with the labels dealt out anew among the labelled images.

    Expected is what the predictions' own frequencies give: the mean over images of the share of images that show the
    predicted phenotype. A model that always says the commonest phenotype is at the majority class here, not at 1 / P.
    """
    asked = [row for row, columns in enumerate(pairs.labels) if len(columns)]
    labels = [pairs.labels[row] for row in asked]
    order = np.random.default_rng(seed).permutation(len(asked))
    hits = at_k(answer_ranks(images[asked], names, [labels[row] for row in order]), 1)[0]
    share = np.bincount(np.concatenate(labels), minlength=len(names)) / len(asked)
    expected = 0.0
    for _, scores in score_chunks(images[asked], names):
        best = scores == scores.max(axis=1, keepdims=True)
        expected += float((best @ share / best.sum(axis=1)).sum())
    return _control("zero_shot_top1", hits, expected / len(asked))


def _control(metric: str, hits: NDArray, expected: float) -> dict[str, Any]:
    error = math.sqrt(max(expected * (1 - expected), 1 / len(hits)) / len(hits))
    value = float(hits.mean())
    return {
        "metric": metric,
        "value": value,
        "expected": expected,
        "n": len(hits),
        "standard_error": error,
        "passes": abs(value - expected) <= ERRORS * error,
    }


def majority_class(pairs: EvaluationPairs, metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    """What always naming the commonest phenotypes of this data scores, and whether the model is surely above it."""
    labels = [row for row in pairs.labels if len(row)]
    order = np.argsort(-np.bincount(np.concatenate(labels), minlength=len(pairs.candidate_ids)), kind="stable")
    found: dict[str, Any] = {"hpo_id": pairs.candidate_ids[order[0]], "name": pairs.candidate_names[order[0]]}
    for k in (1, 5):
        num_right = sum(bool(np.isin(row, order[:k]).any()) for row in labels)
        model = metrics.get(f"zero_shot_top{k}")
        found[f"top{k}"] = {
            "value": num_right / len(labels),
            "k": num_right,
            "n": len(labels),
            "model_is_above": bool(model is not None and model.ci95[0] > num_right / len(labels)),
        }
    return found


def random_floor(pairs: EvaluationPairs, prompts: Sequence[str]) -> dict[str, Any]:
    """The same evaluators over a model that knows nothing: its scores must be those of chance."""
    _, firsts = np.unique(pairs.image_codes, return_index=True)
    encoder = RandomEncoder([pairs.sha256[row] for row in firsts])
    metrics = RetrievalEvaluator(pairs, ks=[K])(encoder) | ZeroShotEvaluator(pairs, prompts=prompts)(encoder)
    rows = {}
    for name, metric in metrics.items():
        # Queries share candidates, and repeats share vectors: the spread over queries is too narrow by itself.
        num_distinct = len(np.unique(pairs.caption_codes))
        error = math.sqrt(max(metric.chance * (1 - metric.chance), 1 / metric.n) / min(metric.n, num_distinct))
        rows[name] = {
            "value": metric.value,
            "chance": metric.chance,
            "n": metric.n,
            "passes": abs(metric.value - metric.chance) <= ERRORS * error,
        }
    return {"metrics": rows, "passes": all(row["passes"] for row in rows.values())}


def collapse(name: str, embeds: NDArray) -> dict[str, Any]:
    """Mean cosine and effective rank of a set of distinct things."""
    cosine, rank = mean_pairwise_cosine(embeds), effective_rank(embeds)
    return {
        "of": name,
        "n": len(embeds),
        "width": embeds.shape[1],
        "mean_cosine": None if math.isnan(cosine) else cosine,
        "effective_rank": rank,
        "collapsed": len(embeds) > 2 and (cosine > COLLAPSED_COSINE or rank < COLLAPSED_RANK),
    }


def arithmetic(metrics: Mapping[str, MetricValue], queries: Mapping[str, Queries]) -> dict[str, Any]:
    """Whether each number can be: n queries, mean of its values, k of n where hits are whole, cutoffs nested."""
    problems, num_whole = [], 0
    for name, metric in metrics.items():
        problems += _problems(name, metric, queries)
        if metric.per_query is not None and np.isin(metric.per_query, (0, 1)).all():
            num_whole += 1
            num_hits = int(metric.per_query.sum())
            if abs(num_hits / metric.n - metric.value) > 1e-9:
                problems.append(f"{name} is {metric.value}, not {num_hits} / {metric.n}.")
    problems += _nesting(metrics)
    return {"num_metrics": len(metrics), "num_whole_k_of_n": num_whole, "problems": problems, "passes": not problems}


def _problems(name: str, metric: MetricValue, queries: Mapping[str, Queries]) -> list[str]:
    problems = []
    family = next((family for family in queries if name.startswith(f"{family}_")), None)
    if metric.per_query is not None:
        num_asked = len(queries[family].ids) if family else metric.n
        if not metric.n == len(metric.per_query) == num_asked:
            problems.append(f"{name}: n is {metric.n}, of {len(metric.per_query)} values and {num_asked} queries.")
        if abs(float(np.mean(metric.per_query)) - metric.value) > 1e-9:
            problems.append(f"{name}: {metric.value} is not the mean of its values.")
    if ("_hit_" in name or "_top" in name or "_recall_" in name) and not 0 <= metric.value <= 1:
        problems.append(f"{name}: {metric.value} is no share.")
    return problems


def _nesting(metrics: Mapping[str, MetricValue]) -> list[str]:
    """A hit at k is one at more than k, and where there is a hit there is recall, of at most 1."""
    problems, families = [], {}
    for name, metric in metrics.items():
        head, _, tail = name.partition("_at_")
        k, _, suffix = tail.partition("_")
        if head.endswith(("_hit", "_recall")) and k.isdigit():
            families.setdefault((head, suffix), []).append((int(k), metric.value))
        hits = metrics.get(name.replace("_recall_", "_hit_"))
        if "_recall_at_" in name and hits is not None and metric.value > hits.value + 1e-9:
            problems.append(f"{name} is above the hit rate.")
    for (head, suffix), values in families.items():
        ordered = [value for _, value in sorted(values)]
        if any(b < a - 1e-9 for a, b in zip(ordered, ordered[1:], strict=False)):
            problems.append(f"{head}{'_' * bool(suffix)}{suffix} falls with k.")
    return problems


def _distinct(embeds: NDArray, codes: NDArray) -> NDArray:
    return embeds[np.unique(codes, return_index=True)[1]]
