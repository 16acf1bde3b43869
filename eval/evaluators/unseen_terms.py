"""Phenotypes that training never showed, asked by name, by a known relative and by what they look like."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding, mean_metrics
from phenolip.eval.evaluators.query_metrics import pair_clusters, with_clusters
from phenolip.eval.metrics.ranking import rank_candidates
from phenolip.eval.metrics.thresholds import threshold_metrics
from phenolip.eval.per_query import Queries, unique_ids
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.finding_template import compose
from phenolip.ontology.held_out_terms import HeldOutTerms
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.ontology.similarity import lin_matrix

MODES = ("name", "proxy", "explanation", "name_and_explanation")
TOPS = (1, 5)
REFERENCE = "name"


class UnseenTermsEvaluator:
    """Which of the held-out terms does an image show, by texts of four kinds.

    MedFILIP (arXiv 2501.10775) asks an unseen class by the prompt of a known one ("category") and by a visual
    description ("explanation"). Here: ``name``, the term's own; ``proxy``, the name of the training phenotype of the
    highest Lin similarity (of equals the lowest id), by which several terms may share one text; ``explanation``, what
    the knowledge book says without the name; ``name_and_explanation``, the template of training.

    Args:
        pairs: Images whose labels are held-out terms, as `held_out_pairs` makes them.
        terms: The held-out terms, in the order of the pairs' candidates.
        book: Explanations.
        known: Phenotypes of the training, for proxies; empty leaves them out.
        modes: Kinds of texts to measure.

    Raises:
        ConfigurationError: A mode is unknown.
        DataError: No image shows a held-out term.
    """

    primary_metric = "unseen_top5_name_and_explanation"
    greater_is_better = True

    def __init__(
        self,
        pairs: EvaluationPairs,
        terms: HeldOutTerms,
        book: KnowledgeBook,
        known: Sequence[str] = (),
        *,
        modes: Sequence[str] = MODES,
    ) -> None:
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise ConfigurationError(f"`modes` must be of {', '.join(MODES)}, got {unknown[0]!r}.")
        if not any(len(row) for row in pairs.labels):
            raise DataError("No image of `data` shows a held-out term: give the folder unseen/ of the split.")
        self.pairs, self.terms, self.book, self.known = pairs, terms, book, tuple(known)
        self.modes = [mode for mode in modes if mode != "proxy" or known]
        self.shown = [row for row, labels in enumerate(pairs.labels) if len(labels)]

    @property
    def queries(self) -> dict[str, Queries]:
        """Beginning of a metric's name -> its queries."""
        rows = unique_ids(self.pairs.row_ids)
        images = Queries("pair", tuple(rows[row] for row in self.shown))
        return {f"unseen_top{k}": images for k in TOPS} | {
            "unseen_auroc": Queries("phenotype", tuple(self.pairs.candidate_ids[column] for column in self.asked()))
        }

    def asked(self) -> list[int]:
        """Terms that an image shows and another does not."""
        counts = np.bincount(np.concatenate([self.pairs.labels[row] for row in self.shown]),
                             minlength=len(self.pairs.candidate_ids))  # fmt: skip
        return np.flatnonzero((counts > 0) & (counts < len(self.shown))).tolist()

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """``unseen_top1_MODE``, ``unseen_top5_MODE`` and ``unseen_auroc_MODE``, the mean over terms, and ``..._gain``,
        what a mode gains over names, paired by image or term."""
        images = np.asarray(self.pairs.embed_images(encoder), np.float32)[self.shown]
        columns = {mode: self._columns(images, self._embed(encoder, mode)) for mode in self.modes}
        chances = columns[self.modes[0]][1]
        metrics: dict[str, MetricValue] = {}
        for place, family in enumerate(columns[self.modes[0]][0]):
            values = {mode: found[family] for mode, (found, _) in columns.items()}
            gains = {
                f"{mode}_gain": values[mode] - values[REFERENCE]
                for mode in self.modes
                if mode != REFERENCE and REFERENCE in values
            }
            named = values | gains
            measured = mean_metrics(np.stack(list(named.values()), axis=1), np.full(len(named), chances[place]))
            for name, metric in zip(named, measured, strict=True):
                metrics[f"{family}_{name}"] = _without_chance(metric) if name in gains else metric
        clusters = pair_clusters(self.pairs)[self.shown]
        return with_clusters(metrics, self.queries, {f"unseen_top{k}": clusters for k in TOPS})

    def texts(
        self, mode: str, count_tokens: Callable[[str], int] | None = None, limit: int | None = None
    ) -> list[str]:
        """The text of each term.

        Args:
            mode: Of `MODES`.
            count_tokens: Length of a text in the model's tokens.
            limit: Longest text; an explanation is cut, never the name.
        """
        names = list(self.pairs.candidate_names)
        if mode == "proxy":
            nearest = lin_matrix(self.terms.ontology, self.pairs.candidate_ids, self.known).argmax(axis=1)
            return [self.terms.ontology[self.known[column]].name for column in nearest]
        if mode == "name":
            return names
        told = [self.book.explain(hpo_id).text for hpo_id in self.pairs.candidate_ids]
        if mode == "explanation":
            return [text[:1].upper() + text[1:] or name for text, name in zip(told, names, strict=True)]
        counting = {"max_tokens": limit, "count_tokens": count_tokens} if count_tokens and limit else {}
        return [compose(None, None, name, text, **counting) for name, text in zip(names, told, strict=True)]

    def describe(self) -> list[dict[str, str]]:
        """Every term with its texts, for results.json."""
        texts = {mode: self.texts(mode) for mode in self.modes}
        sources = [self.book.explain(hpo_id).source for hpo_id in self.pairs.candidate_ids]
        return [
            {"hpo_id": hpo_id, "source": sources[row], **{mode: of_mode[row] for mode, of_mode in texts.items()}}
            for row, hpo_id in enumerate(self.pairs.candidate_ids)
        ]

    def _embed(self, encoder: SupportsEncoding, mode: str) -> NDArray:
        tokenizer, template = getattr(encoder, "tokenizer", None), getattr(encoder, "prompt_template", "{}")
        count = (lambda text: len(tokenizer(template.replace("{}", text))["input_ids"])) if tokenizer else None
        texts = self.texts(mode, count, getattr(encoder, "max_length", None))
        return encoder.encode_texts([template.replace("{}", text) for text in texts])

    def _columns(self, images: NDArray, texts: NDArray) -> tuple[Mapping[str, NDArray], list[float]]:
        """Values of each query, by beginning of the metric's name, and their chance levels."""
        labels = [self.pairs.labels[row] for row in self.shown]
        ranked = rank_candidates(images, texts, labels, TOPS)
        values = {f"unseen_top{k}": ranked.hits[:, place] for place, k in enumerate(TOPS)}
        truth = np.zeros((len(labels), len(texts)), np.int8)
        for row, columns in enumerate(labels):
            truth[row, columns] = 1
        asked = self.asked()
        scores = np.asarray(images, np.float64) @ np.asarray(texts, np.float64).T
        values["unseen_auroc"] = threshold_metrics(scores[:, asked], truth[:, asked], fit_on="test").auroc
        return values, [*ranked.chance_hits.mean(axis=0), 0.5]


def held_out_labels(pairs_labels: Sequence[Sequence[str]], terms: HeldOutTerms) -> tuple[NDArray, ...]:
    """For each row the places of the held-out terms that its labels make true (true-path rule), sorted."""
    places = {hpo_id: place for place, hpo_id in enumerate(terms.hpo_ids)}
    return tuple(
        np.array(sorted(places[hpo_id] for hpo_id in terms.shown(labels)), dtype=np.intp) for labels in pairs_labels
    )


def _without_chance(metric: MetricValue) -> MetricValue:
    return MetricValue(metric.value, metric.ci95, metric.n, None, metric.per_query)
