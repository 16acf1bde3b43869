"""Zero-shot classification of images over candidate phenotypes, with prompt ensembling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding, mean_metrics
from phenolip.eval.evaluators.zero_shot_variants import VariantsEvaluator, check_variants
from phenolip.eval.metrics.ranking import rank_candidates
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.graph import PhenotypeOntology

DEFAULT_PROMPTS = ("{}", "an image showing {}.", "a medical image of {}.", "presence of {}.")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best candidates of one image.

    Attributes:
        row: Row of the pair.
        candidates: Rows of the candidates, best first.
        cosines: Their cosine similarities.
    """

    row: int
    candidates: tuple[int, ...]
    cosines: tuple[float, ...]


class ZeroShotEvaluator:
    """Share of images whose best candidate (or one of the best five) is among their labels.

    A phenotype is embedded as the unit-norm mean of the unit-norm embeddings of its name in every prompt. The score of
    an image is 1 as soon as one of its labels is found, so images with several labels are easier; ties count in
    expectation. The prompts are ours: none are published (PhenoLIP, arXiv 2602.06184).

    Args:
        pairs: The pairs to score; images that show no candidate are left out.
        prompts: Templates, each with one ``{}`` for the name.
        variants: Name -> settings of further ways to score the same images, measured beside: see `Variant`. They
            change neither the metrics named here nor the predictions.
        ontology: Texts and relatives of the candidates, for variants alone.

    Raises:
        ConfigurationError: A prompt or variant cannot be used, or there are variants and no ontology.
    """

    primary_metric = "zero_shot_top1"
    greater_is_better = True

    def __init__(
        self,
        pairs: EvaluationPairs,
        *,
        prompts: Sequence[str] = DEFAULT_PROMPTS,
        variants: Mapping[str, Any] | None = None,
        ontology: PhenotypeOntology | None = None,
    ) -> None:
        self.pairs = pairs
        self.prompts = check_prompts(prompts)
        self.variants = check_variants(variants)
        if self.variants and ontology is None:
            raise ConfigurationError("`ontology` must be given where there are `variants`, got none.")
        self.ontology = ontology

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """``zero_shot_top1``, ``zero_shot_top5`` and the variants'; empty when no image shows a candidate."""
        answered = [row for row, columns in enumerate(self.pairs.labels) if len(columns)]
        if not answered:
            return {}
        images, names = self.pairs.embed_images(encoder), self.embed_candidates(encoder)
        values = rank_candidates(images[answered], names, [self.pairs.labels[row] for row in answered], [1, 5])
        metrics = mean_metrics(values.hits, values.chance_hits.mean(axis=0))
        named = dict(zip(("zero_shot_top1", "zero_shot_top5"), metrics, strict=True))
        if self.variants:
            named |= VariantsEvaluator(self.pairs, self.ontology, prompts=self.prompts, variants=self.variants)(
                encoder
            )
        return named

    def embed_candidates(self, encoder: SupportsEncoding) -> NDArray:
        """(P, D) unit-norm prompt-ensembled embeddings of the candidates."""
        return embed_with_prompts(encoder, self.pairs.candidate_names, self.prompts)

    def predict(self, encoder: SupportsEncoding, *, top: int = 5) -> list[Prediction]:
        """The best candidates of every pair's image, equal scores in the order of the candidates."""
        if not self.pairs.candidate_ids:
            return []
        images, names = self.pairs.embed_images(encoder), self.embed_candidates(encoder)
        predictions = []
        for row, image in enumerate(images):
            cosines = names @ image
            best = np.argsort(-cosines, kind="stable")[:top]
            predictions.append(Prediction(row, tuple(best.tolist()), tuple(cosines[best].tolist())))
        return predictions


def embed_with_prompts(encoder: SupportsEncoding, names: Sequence[str], prompts: Sequence[str]) -> NDArray:
    """Unit-norm mean over prompts of unit-norm embeddings, one row per name."""
    texts = [prompt.format(name) for prompt in prompts for name in names]
    embeds = encoder.encode_texts(texts).reshape(len(prompts), len(names), -1)  # (prompts, P, D)
    mean = embeds.mean(axis=0)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """The prompts as a tuple, once each is known to hold exactly one ``{}`` and no other brace.

    Raises:
        ConfigurationError: There is no prompt, or one of another form.
    """
    for prompt in prompts:
        if not isinstance(prompt, str) or prompt.count("{}") != 1 or set("{}") & set(prompt.replace("{}", "")):
            raise ConfigurationError(f"`prompts` must each hold one {{}} for the phenotype's name, got {prompt!r}.")
    if not prompts:
        raise ConfigurationError("`prompts` must hold at least one template such as '{}', got none.")
    return tuple(prompts)
