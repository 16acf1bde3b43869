"""The same images and candidates scored with more of the ontology: what synonyms, definitions and relatives add."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding, mean_metrics
from phenolip.eval.evaluators.retrieval import transpose
from phenolip.eval.metrics.ranking import CHUNK_SCORES, expected_hit_and_recall, miss_probability
from phenolip.exceptions import ConfigurationError
from phenolip.inference.hierarchy import lin_relatives, mix_embeds, path_relatives, with_ancestors
from phenolip.inference.term_texts import NAME_ONLY, check_texts, embed_terms
from phenolip.inference.true_path import TermHierarchy
from phenolip.ontology.graph import PhenotypeOntology

BASELINE = "names"  # always measured, so that every variant has its gain
DEPTH = 10  # cutoff of retrieval and of the predicted set that the true-path rule is asked of
RELATIVES = {"lin": lin_relatives, "path": path_relatives}
SUFFIX = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to score the candidates.

    Attributes:
        texts: What speaks for a phenotype, as in `embed_terms`.
        hierarchy: Relatives that inform a score: "lin" (`lin_relatives`), "path" (`path_relatives`) or None.
        consistent: How scores of candidates and ancestors are made to respect the true-path rule: "up" raises a term
            to the best score below it, "down" lowers it to the worst above it (`TermHierarchy`); None leaves them.
    """

    texts: tuple[str, ...] = NAME_ONLY
    hierarchy: str | None = None
    consistent: str | None = None


def check_variants(variants: Mapping[str, Any] | None) -> dict[str, Variant]:
    """The variants by name, the baseline first, once each setting is known.

    Raises:
        ConfigurationError: A name or setting cannot be used.
    """
    if not variants:
        return {}
    if not isinstance(variants, Mapping):
        raise ConfigurationError(f"`variants` must map names to settings, got {variants!r}.")
    checked = {BASELINE: Variant()}
    for name, settings in variants.items():
        if not isinstance(name, str) or not SUFFIX.fullmatch(name) or name == BASELINE:
            raise ConfigurationError(
                f"`variants` must have names of small letters, digits and _, other than '{BASELINE}', got {name!r}."
            )
        checked[name] = _variant(name, settings)
    return checked


def _variant(name: str, settings: Any) -> Variant:
    if not isinstance(settings, Mapping) or set(settings) - {"texts", "hierarchy", "consistent"}:
        raise ConfigurationError(f"Variant '{name}' must hold texts, hierarchy and consistent, got {settings!r}.")
    hierarchy, consistent = settings.get("hierarchy"), settings.get("consistent")
    choices = (("hierarchy", hierarchy, tuple(RELATIVES)), ("consistent", consistent, ("up", "down")))
    for field, value, allowed in choices:
        if value is not None and value not in allowed:
            raise ConfigurationError(f"`{field}` of variant '{name}' must be {' or '.join(allowed)}, got {value!r}.")
    return Variant(check_texts(settings.get("texts", NAME_ONLY)), hierarchy, consistent)


class VariantsEvaluator:
    """Zero-shot classification and phenotype retrieval under each variant, and what each gains over names alone.

    Every variant ``v`` has five metrics: ``zero_shot_top1_v`` and ``zero_shot_top5_v`` as in `ZeroShotEvaluator`;
    ``i2p_hit_at_10_v`` and ``p2i_hit_at_10_v`` as in `RetrievalEvaluator`, but with the prompts; and
    ``zero_shot_violation_at_10_v``, the share of images for which the ten best of all candidates and their ancestors
    lack an ancestor of one of them (lower is better; ancestors are those of `with_ancestors`). All but the first
    variant, ``names``, have each of them once more with the suffix ``_gain``: the mean over queries of the difference
    from ``names``, hence with a paired interval.

    The weights of texts and relatives are the defaults of `phenolip.inference`; docs/inference.md says on which data
    they were chosen, where gains are flattered a little.

    Args:
        pairs: The pairs to score; images that show no candidate are left out.
        ontology: Texts and relatives of the candidates.
        prompts: Templates, each with one ``{}`` for the name.
        variants: As `check_variants` returns them.
    """

    def __init__(
        self,
        pairs: EvaluationPairs,
        ontology: PhenotypeOntology,
        *,
        prompts: Sequence[str],
        variants: Mapping[str, Variant],
    ) -> None:
        self.pairs, self.ontology = pairs, ontology
        self.prompts, self.variants = prompts, variants
        self.answered = [row for row, columns in enumerate(pairs.labels) if len(columns)]

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """The metrics of all variants; empty when no image shows a candidate."""
        if not self.answered:
            return {}
        images = self.pairs.embed_images(encoder)
        terms = with_ancestors(self.ontology, self.pairs.candidate_ids)  # the P candidates are the first of V
        hierarchy = TermHierarchy(self.ontology, terms)
        metrics: dict[str, MetricValue] = {}
        baseline: dict[str, NDArray] = {}
        for name, variant in self.variants.items():
            scores = images @ self.embed_terms(encoder, terms, variant).T  # (N, V)
            if variant.consistent:
                scores = (hierarchy.propagate_up if variant.consistent == "up" else hierarchy.propagate_down)(scores)
            values = self._values(scores, hierarchy)
            baseline = baseline or {metric: per_query for metric, (per_query, _) in values.items()}
            for metric, (per_query, chance) in values.items():
                metrics[f"{metric}_{name}"] = _metric(per_query, chance)
                if name != BASELINE:
                    metrics[f"{metric}_{name}_gain"] = _metric(per_query - baseline[metric], None)
        return metrics

    def embed_terms(self, encoder: SupportsEncoding, terms: Sequence[str], variant: Variant) -> NDArray:
        """(V, D) unit-norm embeddings of the terms, mixed with those of their relatives where the variant says so."""
        embeds = embed_terms(encoder.encode_texts, self.ontology, terms, texts=variant.texts, prompts=self.prompts)
        if variant.hierarchy is None:
            return embeds
        return mix_embeds(embeds, RELATIVES[variant.hierarchy](self.ontology, terms))

    def _values(self, scores: NDArray, hierarchy: TermHierarchy) -> dict[str, tuple[NDArray, float | None]]:
        """For each metric its value per query and its chance level; scores are (N, V)."""
        violations = hierarchy.violates(scores[self.answered], DEPTH).astype(np.float64)
        scores = scores[:, : len(self.pairs.candidate_ids)]  # ancestors are no answers
        labels = [self.pairs.labels[row] for row in self.answered]
        hits, chances = _hits(scores[self.answered], labels, (1, 5, DEPTH))
        images = transpose(self.pairs.labels, scores.shape[1])
        shown = [column for column, rows in enumerate(images) if len(rows)]
        found, found_chances = _hits(scores[:, shown].T, [images[column] for column in shown], (DEPTH,))
        return {
            "zero_shot_top1": (hits[:, 0], chances[0]),
            "zero_shot_top5": (hits[:, 1], chances[1]),
            f"i2p_hit_at_{DEPTH}": (hits[:, 2], chances[2]),
            f"p2i_hit_at_{DEPTH}": (found[:, 0], found_chances[0]),
            f"zero_shot_violation_at_{DEPTH}": (violations, None),
        }


def _metric(per_query: NDArray, chance: float | None) -> MetricValue:
    (metric,) = mean_metrics(per_query[:, None], [0.0])
    return replace(metric, chance=None if chance is None else float(chance))


def _hits(scores: NDArray, relevant: Sequence[NDArray], ks: Sequence[int]) -> tuple[NDArray, NDArray]:
    """(Q, K) expected hits, and (K,) those of a random order; as `rank_candidates`, for scores that are no cosines."""
    hits = np.empty((len(scores), len(ks)))
    chunk = max(1, CHUNK_SCORES // scores.shape[1])
    for start in range(0, len(scores), chunk):
        rows = slice(start, start + chunk)
        mask = np.zeros(scores[rows].shape, bool)
        for row, columns in enumerate(relevant[rows]):
            mask[row, columns] = True
        hits[rows], _ = expected_hit_and_recall(scores[rows], mask, ks)
    num_relevant = np.array([len(columns) for columns in relevant])[:, None]
    depths = np.minimum(np.asarray(ks), scores.shape[1])[None, :]
    return hits, (1.0 - miss_probability(scores.shape[1], num_relevant, depths)).mean(axis=0)
