"""Which phenotypes a model sees in an image, out of a list of candidates."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.candidates import all_candidates, model_candidates
from phenolip.inference.encoder import Encoder
from phenolip.ontology.cache import cache_path
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology

logger = logging.getLogger(__name__)

RESEARCH_ONLY = "For research, not for diagnosis: scores compare candidates, they are not probabilities of disease."
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
        self.embeds = encoder.encode_texts(candidate_texts(encoder, self.names)) if embeds is None else embeds

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        candidates: Mapping[str, str] | None = None,
        ontology: PhenotypeOntology | None = None,
        device: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> "PhenotypePredictor":
        """Predictor of a model folder or Hub id.

        Args:
            path: The model.
            candidates: Phenotype id -> name; by default the phenotypes stored with the model, else every term under
                HP:0000118, of which the embeddings are kept for the next call.
            ontology: Where all terms come from; by default the release that is installed.
            device: By default a GPU if there is one.
            cache_dir: Where embeddings are kept; by default the user's cache folder.
        """
        encoder = Encoder.from_pretrained(path, device)
        candidates = candidates or model_candidates(path)
        if candidates is not None:
            return cls(encoder, candidates)
        candidates = all_candidates(ontology or load_ontology())
        return cls(
            encoder, candidates, embeds=_cached_embeds(encoder, Path(path), tuple(candidates.values()), cache_dir)
        )

    def __call__(self, images: Sequence[Any], *, top: int = 10) -> list[list[PhenotypePrediction]]:
        """The best candidates of each image, best first; equal scores in the order of the candidates.

        Args:
            images: Anything that `Encoder.encode_images` takes.
            top: Candidates to return, at most all of them.

        Raises:
            ConfigurationError: ``top`` is below 1.
            DataError: An image cannot be read.
        """
        if top < 1:
            raise ConfigurationError(f"`top` must be at least 1, got {top}.")
        cosines = self.encoder.encode_images(images) @ self.embeds.T  # (N, P)
        logits = self.encoder.logit_scale * cosines.astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
        return [
            [
                PhenotypePrediction(
                    self.hpo_ids[c], self.names[c], float(cosines[row, c]), float(probabilities[row, c])
                )
                for c in columns
            ]
            for row, columns in enumerate(best)
        ]


def candidate_texts(encoder: Encoder, names: Sequence[str]) -> list[str]:
    """The names as the model's processor would hand them on."""
    return [encoder.prompt_template.replace("{}", name) for name in names]


def _cached_embeds(encoder: Encoder, path: Path, names: Sequence[str], cache_dir: str | Path | None) -> NDArray:
    """Embeddings of names, kept on disk under a hash of the model's files and of the texts."""
    texts = candidate_texts(encoder, names)
    file = _cache_file(path, texts, cache_dir)
    if file is not None and file.is_file():
        try:
            embeds = np.load(file, allow_pickle=False)
            if len(embeds) == len(texts):
                return embeds
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s is damaged (%s) and is built again.", file, error)
    logger.info("Encoding the names of %d phenotypes; the next call finds them ready.", len(texts))
    embeds = encoder.encode_texts(texts)
    if file is not None:
        _keep(file, embeds)
    return embeds


def _cache_file(path: Path, texts: Sequence[str], cache_dir: str | Path | None) -> Path | None:
    """Where the embeddings are kept; None for a model that is no folder, whose files may change under its name."""
    files = sorted(file for pattern in WEIGHT_FILES for file in path.glob(pattern))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for text in texts:
        digest.update(text.encode() + b"\0")
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
