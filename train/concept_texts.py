"""Stage 1 samples: what is said of a phenotype in a given epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.text import knowledge_texts
from phenolip.train.data import Key

# Draws of equal weight over what a term has; a path is said on request only.
KIND_WEIGHTS = {"name": 1.0, "definition": 1.0, "synonym": 1.0, "relation": 1.0, "path": 0.0}
PATH_SEPARATOR = " > "
LONGEST_PATH = 8  # names; more would be cut at the end, where the term itself stands


class ConceptTexts:
    """Some texts of one phenotype, drawn anew each epoch; a pure function of (seed, epoch, row).

    A path is made of the names from below HP:0000118 down to the term, through one parent drawn at each step, or of
    the last `LONGEST_PATH` of them (KEEP's template, names only: a synonym might be a held-out one). Masked words are
    replaced by the tokenizer's mask token, never all words of a text (KAD masks 15% of tokens in half of the texts).

    Args:
        ontology: Source of terms and texts.
        hpo_ids: Terms to draw from; a sample's `concept_id` is its place in this list.
        texts_per_concept: Texts drawn for each term, of different kinds while kinds last.
        scopes: Synonym scopes used as texts.
        seed: With epoch and row, fixes the draw.
        name_first: The first text of a term is always its name, unmasked.
        kind_weights: Kind of text -> weight of its draw, 0 or above; missing kinds keep `KIND_WEIGHTS`.
        mask_token: What stands for a masked word; None if no text is masked.
        masked_text_fraction: Probability that words of a text are masked.
        masked_word_fraction: Probability of each word of such a text.

    Raises:
        ConfigurationError: A kind is unknown, or texts are to be masked without a mask token.
    """

    def __init__(
        self,
        ontology: PhenotypeOntology,
        hpo_ids: Sequence[str],
        *,
        texts_per_concept: int,
        scopes: Sequence[str],
        seed: int,
        name_first: bool = False,
        kind_weights: Mapping[str, float] | None = None,
        mask_token: str | None = None,
        masked_text_fraction: float = 0.0,
        masked_word_fraction: float = 0.15,
    ) -> None:
        self.ontology, self.hpo_ids = ontology, list(hpo_ids)
        self.texts_per_concept, self.seed, self.name_first = texts_per_concept, seed, name_first
        self.kind_weights = KIND_WEIGHTS | dict(kind_weights or {})
        if unknown := self.kind_weights.keys() - KIND_WEIGHTS.keys():
            raise ConfigurationError(f"Kinds of text must be among {sorted(KIND_WEIGHTS)}, got {sorted(unknown)}.")
        if masked_text_fraction and not mask_token:
            raise ConfigurationError(
                f"`masked_text_fraction` must be 0 where the tokenizer has no mask token, got {masked_text_fraction}."
            )
        self.mask_token = mask_token
        self.masked_text_fraction, self.masked_word_fraction = masked_text_fraction, masked_word_fraction
        self.texts: list[dict[str, list[str]]] = [self._texts_of(hpo_id, tuple(scopes)) for hpo_id in self.hpo_ids]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key
        rng = np.random.default_rng([self.seed, epoch, row])
        kinds = self._draw_kinds(row, rng)
        # Once every kind is used, kinds come round again; with a single text, a term repeats it.
        chosen = (kinds * self.texts_per_concept)[: self.texts_per_concept]
        texts = [self._draw_text(row, kind, rng) for kind in chosen]
        kept = int(self.name_first)
        return {"concept_id": row, "texts": texts[:kept] + [self._mask(text, rng) for text in texts[kept:]]}

    def _texts_of(self, hpo_id: str, scopes: tuple[str, ...]) -> dict[str, list[str]]:
        """Texts by kind; a path, which is drawn step by step, has an empty list."""
        by_kind: dict[str, list[str]] = {}
        for text in knowledge_texts(self.ontology, hpo_id, scopes=scopes, exclude_held_out=True):
            by_kind.setdefault(text.kind, []).append(text.text)
        if self.kind_weights["path"] and self._parents(hpo_id):
            by_kind["path"] = []
        return by_kind

    def _draw_kinds(self, row: int, rng: np.random.Generator) -> list[str]:
        """The term's kinds in an order drawn by weight, without those of weight 0; at least the name."""
        weights = {kind: self.kind_weights[kind] for kind in self.texts[row]}
        if self.name_first:
            weights["name"] = 0.0
        # Weighted draws without replacement: the smallest of exponential times (Efraimidis and Spirakis 2006).
        times = {kind: rng.exponential() / weight for kind, weight in weights.items() if weight > 0}
        kinds = sorted(times, key=times.__getitem__)
        return ["name", *kinds] if self.name_first or not kinds else kinds

    def _draw_text(self, row: int, kind: str, rng: np.random.Generator) -> str:
        if kind == "path":
            return self._draw_path(self.hpo_ids[row], rng)
        texts = self.texts[row][kind]
        return texts[rng.integers(len(texts))]

    def _draw_path(self, hpo_id: str, rng: np.random.Generator) -> str:
        names = [self.ontology[hpo_id].name]
        while len(names) < LONGEST_PATH and (parents := self._parents(hpo_id)):
            hpo_id = parents[rng.integers(len(parents))]
            names.append(self.ontology[hpo_id].name)
        return PATH_SEPARATOR.join(reversed(names))

    def _parents(self, hpo_id: str) -> list[str]:
        """Parents below HP:0000118."""
        parents = self.ontology.parents(hpo_id)
        return [i for i in parents if i != PHENOTYPIC_ABNORMALITY and self.ontology.is_phenotype(i)]

    def _mask(self, text: str, rng: np.random.Generator) -> str:
        if not self.masked_text_fraction or rng.random() >= self.masked_text_fraction:
            return text
        words = text.split()
        masked = rng.random(len(words)) < self.masked_word_fraction
        if masked.all():
            masked[rng.integers(len(words))] = False
        return " ".join(self.mask_token if hidden else word for word, hidden in zip(words, masked, strict=True))
