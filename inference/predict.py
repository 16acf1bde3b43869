"""Which phenotypes a model sees in an image, out of a list of candidates."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.candidates import all_candidates, model_candidates
from phenolip.inference.encoder import Encoder
from phenolip.inference.hierarchy import (
    ALPHA,
    LIN_POWER,
    MIN_INFORMATION,
    NUM_RELATIVES,
    lin_relatives,
    mix_embeds,
    with_ancestors,
)
from phenolip.inference.model_knowledge import candidate_texts
from phenolip.inference.prediction_tree import TreeNode, prediction_tree
from phenolip.inference.term_texts import NAME_ONLY, TEXT_WEIGHTS, check_texts, embed_terms, term_texts
from phenolip.inference.true_path import TermHierarchy
from phenolip.ontology.cache import cache_path
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology

logger = logging.getLogger(__name__)

RESEARCH_ONLY = "For research, not for diagnosis: scores compare candidates, they are not probabilities of disease."
NUM_WORTH_KEEPING = 512  # candidates whose names take more than a few seconds to encode
WEIGHT_FILES = ("*.safetensors", "config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class PhenotypePrediction:
    """One candidate for one image.

    Attributes:
        hpo_id: Id of the phenotype.
        name: Its name.
        cosine: Cosine similarity of image and name, from -1 to 1.
        probability: Softmax over all candidates of the cosine times the model's inverse temperature. It says how the
            model ranks the candidates against each other, not how likely the phenotype is.
    """

    hpo_id: str
    name: str
    cosine: float
    probability: float


@dataclass(frozen=True, slots=True)
class CandidateScores:
    """What a model makes of N images and P candidates.

    Attributes:
        cosines: (N, P) cosine similarities.
        probabilities: (N, P) float64, rows sum to 1; see `PhenotypePrediction`.
    """

    cosines: NDArray
    probabilities: NDArray

    def row(self, row: int) -> "CandidateScores":
        """Those of one image, N = 1."""
        return CandidateScores(self.cosines[row : row + 1], self.probabilities[row : row + 1])


class PhenotypePredictor:
    """Ranks candidate phenotypes for images.

    Args:
        encoder: A model with an image side.
        candidates: Phenotype id -> name.
        embeds: (P, D) embeddings of the candidates, if they are known; by default their names are encoded now, in the
            model's prompt template.

    Raises:
        ConfigurationError: The model encodes text only.
        DataError: There is no candidate.
    """

    def __init__(self, encoder: Encoder, candidates: Mapping[str, str], *, embeds: NDArray | None = None) -> None:
        if not encoder.has_images:
            raise ConfigurationError(f"`model` {encoder.name} encodes text only: a prediction needs a Stage-2 model.")
        if not candidates:
            raise DataError("`candidates` must hold at least one phenotype, got none.")
        self.encoder = encoder
        self.hpo_ids, self.names = tuple(candidates), tuple(candidates.values())
        self.embeds = encoder.encode_texts(candidate_texts(encoder, candidates)) if embeds is None else embeds

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        candidates: Mapping[str, str] | None = None,
        ontology: PhenotypeOntology | None = None,
        device: str | None = None,
        cache_dir: str | Path | None = None,
        texts: Collection[str] = NAME_ONLY,
        hierarchy: bool = False,
    ) -> "PhenotypePredictor":
        """Predictor of a model folder or Hub id.

        Args:
            path: The model.
            candidates: Phenotype id -> name; by default the phenotypes stored with the model, else every term under
                HP:0000118. Embeddings that take long (of the default candidates with more than their names, or of
                hundreds of names) are kept for the next call.
            ontology: Where all terms, their texts and relatives come from; by default the release that is installed.
            device: By default a GPU if there is one.
            cache_dir: Where embeddings are kept; by default the user's cache folder.
            texts: What speaks for a phenotype: ``name``, ``synonyms``, ``definition``; see `embed_terms`.
            hierarchy: Let relatives in the ontology inform a phenotype's score; see `phenolip.inference.hierarchy`.

        Raises:
            ConfigurationError: The model or ``texts`` cannot be used.
            UnknownTermError: Texts or relatives are asked of a candidate that the release does not know.
        """
        texts = check_texts(texts)
        encoder = Encoder.from_pretrained(path, device)
        chosen = candidates or model_candidates(path)
        if texts == NAME_ONLY and not hierarchy:
            if chosen is not None and len(chosen) < NUM_WORTH_KEEPING:
                return cls(encoder, chosen)
            chosen = chosen or all_candidates(ontology or load_ontology())
            written = candidate_texts(encoder, chosen)
            key = [repr((encoder.max_length, text)) for text in written]
            embeds = _cached_embeds(Path(path), key, cache_dir, lambda: encoder.encode_texts(written))
            return cls(encoder, chosen, embeds=embeds)
        ontology = ontology or load_ontology()
        chosen = current_candidates(all_candidates(ontology) if chosen is None else chosen, ontology)

        def embed() -> NDArray:
            return ontology_embeds(encoder, ontology, tuple(chosen), texts=texts, hierarchy=hierarchy)

        if candidates:  # a passing choice: not worth a file
            return cls(encoder, chosen, embeds=embed())
        settings = (encoder.prompt_template, TEXT_WEIGHTS, hierarchy, ALPHA, LIN_POWER, NUM_RELATIVES, MIN_INFORMATION)
        settings += (encoder.max_length, ontology.release, ontology.sha256)  # ancestors of candidates take part too
        key = [repr((settings, ontology[i].parents, term_texts(ontology, i, texts))) for i in chosen]
        return cls(encoder, chosen, embeds=_cached_embeds(Path(path), key, cache_dir, embed))

    def __call__(self, images: Sequence[Any], *, top: int = 10) -> list[list[PhenotypePrediction]]:
        """The best candidates of each image, best first; equal scores in the order of the candidates.

        Args:
            images: Anything that `Encoder.encode_images` takes.
            top: Candidates to return, at most all of them.

        Raises:
            ConfigurationError: ``top`` is below 1.
            DataError: An image cannot be read.
        """
        check_top(top)
        return self.best(self.score(images), top=top)

    def score(self, images: Sequence[Any]) -> CandidateScores:
        """Cosines and probabilities of all candidates.

        Raises:
            DataError: An image cannot be read.
        """
        cosines = self.encoder.encode_images(images) @ self.embeds.T  # (N, P)
        logits = self.encoder.logit_scale * cosines.astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return CandidateScores(cosines, odds / odds.sum(axis=1, keepdims=True))

    def best(self, scores: CandidateScores, *, top: int = 10) -> list[list[PhenotypePrediction]]:
        """The best candidates of each image, as by calling the predictor."""
        check_top(top)
        best = np.argsort(-scores.cosines, axis=1, kind="stable")[:, :top]
        return [
            [
                PhenotypePrediction(
                    self.hpo_ids[c],
                    self.names[c],
                    float(scores.cosines[row, c]),
                    float(scores.probabilities[row, c]),
                )
                for c in columns
            ]
            for row, columns in enumerate(best)
        ]

    def trees(self, scores: CandidateScores, ontology: PhenotypeOntology, *, top: int = 10) -> list[list[TreeNode]]:
        """The best candidates of each image under their ancestors, whose probabilities are sums over all candidates.

        No phenotype is then more probable than one of its ancestors (the true-path rule).

        Raises:
            ConfigurationError: ``top`` is below 1.
            UnknownTermError: The release does not know a candidate.
        """
        current = [ontology.resolve(hpo_id) for hpo_id in self.hpo_ids]
        terms = with_ancestors(ontology, tuple(dict.fromkeys(current)), min_information=0.0)
        places = {hpo_id: place for place, hpo_id in enumerate(terms)}
        own = np.zeros((len(terms), len(scores.probabilities)))  # (V, N), 0 for ancestors that are no candidates
        np.add.at(own, [places[hpo_id] for hpo_id in current], scores.probabilities.T)
        rolled = TermHierarchy(ontology, terms).roll_up(own.T)  # (N, V)
        return [
            prediction_tree(
                ontology,
                list(dict.fromkeys(ontology.resolve(row.hpo_id) for row in rows)),
                dict(zip(terms, sums.tolist(), strict=True)),
            )
            for rows, sums in zip(self.best(scores, top=top), rolled, strict=True)
        ]


def check_top(top: int) -> None:
    """Raises ConfigurationError unless a prediction can hold that many candidates."""
    if top < 1:
        raise ConfigurationError(f"`top` must be at least 1, got {top}.")


def current_candidates(candidates: Mapping[str, str], ontology: PhenotypeOntology) -> dict[str, str]:
    """The candidates under their current ids, names as they came; of two ids that mean one term the first stays.

    Raises:
        UnknownTermError: The release does not know a candidate.
    """
    current: dict[str, str] = {}
    for hpo_id, name in candidates.items():
        current.setdefault(ontology.resolve(hpo_id), name)
    return current


def ontology_embeds(
    encoder: Encoder,
    ontology: PhenotypeOntology,
    hpo_ids: Sequence[str],
    *,
    texts: Collection[str] = NAME_ONLY,
    hierarchy: bool = False,
) -> NDArray:
    """(P, D) embeddings of candidates from their texts in the model's prompt and, if asked, their relatives.

    Relatives are the other candidates and the ancestors of all of them.
    """
    terms = with_ancestors(ontology, hpo_ids) if hierarchy else tuple(hpo_ids)
    prompt = (encoder.prompt_template,)
    embeds = embed_terms(encoder.encode_texts, ontology, terms, texts=texts, prompts=prompt)
    if hierarchy:
        embeds = mix_embeds(embeds, lin_relatives(ontology, terms))[: len(hpo_ids)]
    return embeds


def _cached_embeds(
    path: Path, key: Sequence[str], cache_dir: str | Path | None, embed: Callable[[], NDArray]
) -> NDArray:
    """Embeddings of candidates, kept on disk under a hash of the model's files and of what each is made of."""
    file = _cache_file(path, key, cache_dir)
    if file is not None and file.is_file():
        try:
            embeds = np.load(file, allow_pickle=False)
            if len(embeds) == len(key):
                return embeds
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s is damaged (%s) and is built again.", file, error)
    logger.info("Encoding all phenotypes; the next call finds them ready.")
    embeds = embed()
    if file is not None:
        _keep(file, embeds)
    return embeds


def _cache_file(path: Path, key: Sequence[str], cache_dir: str | Path | None) -> Path | None:
    """Where the embeddings are kept; None for a model that is no folder, whose files may change under its name."""
    files = sorted(file for pattern in WEIGHT_FILES for file in path.glob(pattern))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for part in key:
        digest.update(part.encode() + b"\0")
    root = cache_path("any", cache_dir).parent.parent  # the package's cache folder
    return root / "name_embeddings" / f"{digest.hexdigest()}.npy"


def _keep(file: Path, embeds: NDArray) -> None:
    """Writes through a temporary name, so that a reader never meets half a file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as stream:
            np.save(stream, embeds)
        os.replace(stream.name, file)
    except OSError as error:
        logger.warning("The embeddings of names cannot be kept in %s (%s).", file.parent, error)
