"""Zero-shot classification judged by the ontology: near misses are told from far ones, rare terms from common ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.query_metrics import mean_metric, pair_clusters, ratio_metric
from phenolip.eval.evaluators.zero_shot import DEFAULT_PROMPTS, check_prompts, embed_with_prompts
from phenolip.eval.metrics.answer_ranks import AnswerRanks, answer_ranks, score_chunks
from phenolip.eval.metrics.clustered import macro_interval
from phenolip.eval.metrics.rank_metrics import at_k, chance_ranks
from phenolip.eval.ontology_scores import OntologyScores
from phenolip.eval.per_query import Queries
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.graph import PhenotypeOntology

CHUNK_IMAGES = 256  # whose labels are compared with all candidates at a time
NEARNESS = ("lin", "depth", "precision", "recall", "f1")
COUNTS = ("shared", "predicted", "true")


class ZeroShotOntologyEvaluator:
    """What the best candidate of each image says, read with the ontology.

    - ``zero_shot_ancestor_hit_at_{k}``: one of the best k is a label or an ancestor of one, which by the true-path
      rule is right too, if less specific.
    - ``zero_shot_lin_similarity``: Lin similarity of the best candidate with the nearest label;
      ``zero_shot_lca_depth``: depth below HP:0000118 of the deepest lowest common ancestor with a label.
    - ``zero_shot_hierarchical_{precision,recall,f1}_{macro,micro}``: ancestors (HP:0000118 left out) shared by the
      best candidate and the labels; macro is the mean over images, micro the ratio of sums.
    - ``zero_shot_top{1,5}_micro``: share of all label assignments whose label is the best (among the best five), and
      ``macro_zero_shot_top{1,5}``: the mean over phenotypes of that share, so that rare ones weigh as common ones.
    - ``zero_shot_top{1,5}_prompts_{name}``: the plain scores under each prompt set.

    Best candidates of equal score count by their average. Chance is that of a random order.

    Args:
        pairs: The pairs to score; images that show no candidate are left out.
        ontology: The release.
        prompts: Templates of all but the prompt sets.
        prompt_sets: Name -> templates.
        ks: Cutoffs of the ancestor-expanded hit rate.

    Raises:
        ConfigurationError: A prompt or the name of a set cannot be used.
    """

    primary_metric = "zero_shot_lin_similarity"
    greater_is_better = True

    def __init__(
        self,
        pairs: EvaluationPairs,
        ontology: PhenotypeOntology,
        *,
        prompts: Sequence[str] = DEFAULT_PROMPTS,
        prompt_sets: Mapping[str, Sequence[str]] | None = None,
        ks: Sequence[int] = (1, 5, 10),
    ) -> None:
        self.pairs, self.ontology, self.ks = pairs, ontology, tuple(ks)
        self.prompts, self.prompt_sets = check_prompts(prompts), check_prompt_sets(prompt_sets)
        self.asked = [row for row, columns in enumerate(pairs.labels) if len(columns)]
        self.labels = [pairs.labels[row] for row in self.asked]
        self.clusters = pair_clusters(pairs)[self.asked]
        shown = np.unique(np.concatenate(self.labels)) if self.asked else ()
        ids = tuple(pairs.candidate_ids[candidate] for candidate in shown)
        self.queries = {"macro_zero_shot": Queries("phenotype", ids)}

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """The metrics; empty when no image shows a candidate."""
        if not self.asked:
            return {}
        images = np.asarray(self.pairs.embed_images(encoder)[self.asked], np.float32)
        names = np.asarray(embed_with_prompts(encoder, self.pairs.candidate_names, self.prompts), np.float32)
        scores = OntologyScores(self.ontology, self.pairs.candidate_ids)
        metrics = self._ancestor_hits(images, names, scores) | self._nearness(images, names, scores)
        metrics |= self._micro_and_macro(answer_ranks(images, names, self.labels))
        for name, prompts in self.prompt_sets.items():
            embeds = embed_with_prompts(encoder, self.pairs.candidate_names, prompts)
            metrics |= self._hits(f"_prompts_{name}", answer_ranks(images, embeds, self.labels))
        return metrics

    def _hits(self, suffix: str, ranks: AnswerRanks) -> dict[str, MetricValue]:
        chance = chance_ranks(ranks)
        return {
            f"zero_shot_top{k}{suffix}": mean_metric(at_k(ranks, k)[0], self.clusters, at_k(chance, k)[0].mean())
            for k in (1, 5)
        }

    def _ancestor_hits(self, images: NDArray, names: NDArray, scores: OntologyScores) -> dict[str, MetricValue]:
        ranks = answer_ranks(images, names, [scores.at_or_above(labels) for labels in self.labels])
        chance = chance_ranks(ranks)
        return {
            f"zero_shot_ancestor_hit_at_{k}": mean_metric(
                at_k(ranks, k)[0], self.clusters, float(at_k(chance, k)[0].mean())
            )
            for k in self.ks
        }

    def _nearness(self, images: NDArray, names: NDArray, scores: OntologyScores) -> dict[str, MetricValue]:
        fields = (*NEARNESS, *COUNTS)
        values, chances = {name: [] for name in fields}, {name: [] for name in fields}
        for start, chunk in score_chunks(images, names, chunk_rows=CHUNK_IMAGES):
            near = scores.nearness(self.labels[start : start + len(chunk)])
            for row, image in zip(chunk, near, strict=True):
                best = row == row.max()
                for name in fields:
                    all_values = np.broadcast_to(getattr(image, name), row.shape)
                    values[name].append(float(all_values[best].mean()))
                    chances[name].append(float(all_values.mean()))
        return self._near_metrics(
            {name: np.array(found) for name, found in values.items()},
            {name: np.array(found) for name, found in chances.items()},
        )

    def _near_metrics(self, values: dict[str, NDArray], chances: dict[str, NDArray]) -> dict[str, MetricValue]:
        names = {"lin": "lin_similarity", "depth": "lca_depth"}
        metrics = {}
        for field in NEARNESS:
            name = names.get(field, f"hierarchical_{field}_macro")
            metrics[f"zero_shot_{name}"] = mean_metric(values[field], self.clusters, float(chances[field].mean()))
        for name, (value, weight, chance) in _ratios(values, chances).items():
            if weight.sum() > 0:
                metrics[f"zero_shot_hierarchical_{name}_micro"] = ratio_metric(value, weight, self.clusters, chance)
        return metrics

    def _micro_and_macro(self, ranks: AnswerRanks) -> dict[str, MetricValue]:
        metrics = {}
        clusters = self.clusters[ranks.owners]  # of label assignments
        num_classes = np.bincount(ranks.columns, minlength=ranks.num_candidates)
        shown = np.flatnonzero(num_classes)
        for k in (1, 5):
            depth = min(k, ranks.num_candidates)
            found = np.clip(depth - ranks.above, 0, ranks.tied) / ranks.tied
            chance = depth / ranks.num_candidates
            metrics[f"zero_shot_top{k}_micro"] = ratio_metric(found, np.ones(len(found)), clusters, chance)
            sums = np.bincount(ranks.columns, weights=found, minlength=ranks.num_candidates)
            classes = sums[shown] / num_classes[shown]
            interval = macro_interval(found, ranks.columns, clusters)
            metrics[f"macro_zero_shot_top{k}"] = MetricValue(
                float(classes.mean()), interval, len(shown), chance, classes
            )
        return metrics


def check_prompt_sets(prompt_sets: Any) -> dict[str, tuple[str, ...]]:
    """The prompt sets, once each name and template is known to be usable.

    Raises:
        ConfigurationError: A name or template cannot be used.
    """
    if not isinstance(prompt_sets or {}, Mapping):
        raise ConfigurationError(f"`prompt_sets` must map names to lists of templates, got {prompt_sets!r}.")
    for name, prompts in (prompt_sets or {}).items():
        if not isinstance(name, str) or not name.isidentifier() or not isinstance(prompts, (list, tuple)):
            raise ConfigurationError(
                f"`prompt_sets` must map names such as 'bare' to lists, got {name!r}: {prompts!r}."
            )
    return {name: check_prompts(prompts) for name, prompts in (prompt_sets or {}).items()}


def _ratios(
    values: dict[str, NDArray], chances: dict[str, NDArray]
) -> dict[str, tuple[NDArray, NDArray, float | None]]:
    """Numerator and denominator of each image, and chance, of the micro averages."""

    def parts(found: dict[str, NDArray]) -> dict[str, tuple[NDArray, NDArray]]:
        return {
            "precision": (found["shared"], found["predicted"]),
            "recall": (found["shared"], found["true"]),
            "f1": (2 * found["shared"], found["predicted"] + found["true"]),
        }

    by_chance = {
        name: float(top.sum() / bottom.sum()) if bottom.sum() else None
        for name, (top, bottom) in parts(chances).items()
    }
    return {name: (top, bottom, by_chance[name]) for name, (top, bottom) in parts(values).items()}
