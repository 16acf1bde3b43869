"""What every evaluator shares: the encoder it asks, the value it returns, the pairs it looks at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from phenolip.eval.metrics.bootstrap import mean_intervals
from phenolip.eval.metrics.ranking import RankingValues
from phenolip.exceptions import DataError
from phenolip.near_copies import fold_caption
from phenolip.ontology.graph import PhenotypeOntology


class SupportsEncoding(Protocol):
    """Anything that turns images and texts into unit-norm float32 rows of one width."""

    def encode_images(self, images: Sequence[Any]) -> NDArray:
        """(N, D) embeddings, in the order of the images."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray:
        """(N, D) embeddings, in the order of the texts."""


class MemoEncoder:
    """Encodes no text and no list of images twice; for one evaluation over weights that do not change."""

    def __init__(self, encoder: SupportsEncoding) -> None:
        self.encoder = encoder
        self._texts: dict[str, NDArray] = {}
        self._images: tuple[Sequence[Any], NDArray] | None = None

    def encode_images(self, images: Sequence[Any]) -> NDArray:
        """As the encoder's own, remembered for the last list seen."""
        if self._images is None or self._images[0] is not images:
            self._images = (images, finite(self.encoder.encode_images(images), self.encoder))
        return self._images[1]

    def encode_texts(self, texts: Sequence[str]) -> NDArray:
        """As the encoder's own; only texts not seen before are encoded."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            self._texts.update(zip(new, finite(self.encoder.encode_texts(new), self.encoder), strict=True))
        return np.stack([self._texts[text] for text in texts])


def finite(embeds: NDArray, encoder: SupportsEncoding) -> NDArray:
    """The embeddings, once none is NaN or infinite: encoders that come as objects look after themselves or not.

    Raises:
        DataError: A number is not finite.
    """
    bad = ~np.isfinite(embeds).all(axis=1)
    if bad.any():
        name = getattr(encoder, "name", "") or type(encoder).__name__
        raise DataError(f"`model` {name} gives NaN or infinite embeddings for {int(bad.sum())} of {len(bad)} items.")
    return embeds


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One number of a result.

    Attributes:
        value: A fraction of 1, or a correlation.
        ci95: Bootstrap 95 % percentile interval, lower and upper.
        n: Queries (for a correlation: pairs) behind the value.
        chance: What a uniformly random order gives, in closed form; None where that has no meaning.
        per_query: (n,) value of each query, in the order of the evaluator, whose mean is ``value``; None where the
            metric is no mean over queries, as a correlation.
    """

    value: float
    ci95: tuple[float, float]
    n: int
    chance: float | None = None
    per_query: NDArray | None = field(default=None, compare=False, repr=False)

    def __float__(self) -> float:
        return float(self.value)


def ranking_metrics(prefix: str, values: RankingValues, ks: Sequence[int]) -> dict[str, MetricValue]:
    """Means and intervals of ranking values, named ``{prefix}_hit_at_{k}`` and ``{prefix}_recall_at_{k}``."""
    columns = np.concatenate([values.hits, values.recalls], axis=1)
    chances = np.concatenate([values.chance_hits, values.chance_recalls], axis=1).mean(axis=0)
    names = [f"{prefix}_{kind}_at_{k}" for kind in ("hit", "recall") for k in ks]
    return dict(zip(names, mean_metrics(columns, chances), strict=True))


def mean_metrics(columns: NDArray, chances: NDArray) -> list[MetricValue]:
    """One metric per column: its mean over the rows, which are the queries."""
    rows = zip(columns.mean(axis=0), mean_intervals(columns), chances, columns.T, strict=True)
    return [
        MetricValue(float(mean), (float(low), float(up)), len(columns), float(chance), per_query)
        for mean, (low, up), chance, per_query in rows
    ]


@dataclass(frozen=True)
class EvaluationPairs:
    """Image-caption pairs with phenotype labels, ready to be scored (N rows, U distinct images, P candidates).

    Attributes:
        images: U distinct images (by sha256 of the file), in the form that the encoder takes.
        image_codes: (N,) row of ``images`` that each pair shows.
        captions: N captions as they are.
        caption_codes: (N,) equal where captions are equal, case and runs of white space folded.
        labels: For each pair the rows of the candidates that it shows, sorted; may be empty.
        candidate_ids: P phenotype ids.
        candidate_names: P phenotype names.
        row_ids: N names of the rows, for reports.
        sha256: N hashes of the image files.
        group_ids: N cases, patients or articles, empty texts where the data names none; () where it has no column.
        columns: Name of a metadata column -> its N values as text, empty where a row has none.
    """

    images: Sequence[Any]
    image_codes: NDArray
    captions: tuple[str, ...]
    caption_codes: NDArray
    labels: tuple[NDArray, ...]
    candidate_ids: tuple[str, ...]
    candidate_names: tuple[str, ...]
    row_ids: tuple[str, ...]
    sha256: tuple[str, ...]
    group_ids: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, ontology: PhenotypeOntology, *, candidates: Mapping[str, str] | None = None
    ) -> "EvaluationPairs":
        """Pairs of a dataset as `load_pairs` returns it.

        Args:
            dataset: Columns image, caption, hpo_ids, sha256, row_id.
            ontology: Resolves ids and names them.
            candidates: Candidate id -> name; by default every phenotype that occurs in the data. A label outside the
                candidates is not scored.

        Raises:
            DataError: The dataset is empty.
        """
        if not len(dataset):
            raise DataError("The evaluation data has no usable row: check `--data` and its split.")
        row_labels = [sorted({ontology.resolve(hpo_id) for hpo_id in ids}) for ids in dataset["hpo_ids"]]
        if candidates is None:
            candidates = {hpo_id: ontology[hpo_id].name for hpo_id in sorted(set().union(*row_labels))}
        rows = {hpo_id: row for row, hpo_id in enumerate(candidates)}
        labels = [np.array([rows[i] for i in ids if i in rows], dtype=np.intp) for ids in row_labels]
        sha256, captions = tuple(dataset["sha256"]), tuple(dataset["caption"])
        image_codes, first_rows = first_occurrences(sha256)
        return cls(
            images=dataset.select(first_rows)["image"],
            image_codes=image_codes,
            captions=captions,
            caption_codes=first_occurrences(fold_caption(caption) for caption in captions)[0],
            labels=tuple(np.sort(row) for row in labels),
            candidate_ids=tuple(candidates),
            candidate_names=tuple(candidates.values()),
            row_ids=tuple(map(str, dataset["row_id"])),
            sha256=sha256,
            group_ids=tuple(dataset["group_id"]) if "group_id" in dataset.column_names else (),
        )

    def embed_images(self, encoder: SupportsEncoding) -> NDArray:
        """(N, D) embeddings of the pairs' images; each distinct image is encoded once."""
        return encoder.encode_images(self.images)[self.image_codes]


def first_occurrences(keys: Iterable[str]) -> tuple[NDArray, list[int]]:
    """Codes numbered by first occurrence, and the row where each code first occurs.

    Example:
        >>> codes, rows = first_occurrences("abab")
        >>> codes.tolist(), rows
        ([0, 1, 0, 1], [0, 1])
    """
    codes: dict[str, int] = {}
    rows: list[int] = []
    numbered = []
    for row, key in enumerate(keys):
        if key not in codes:
            codes[key] = len(codes)
            rows.append(row)
        numbered.append(codes[key])
    return np.array(numbered, dtype=np.intp), rows
