"""Images with captions and phenotypes, found by embedding or by the tree: what the browser of a data set stands on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.datasets_scripts.load import load_pairs
from phenolip.images import decode_image
from phenolip.inference.encoder import Encoder
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology

THUMBNAIL_PX = 320


@dataclass(frozen=True, slots=True)
class Found:
    """One image of the catalogue: a small picture, its caption, and its cosine with the query if there was one."""

    picture: Image.Image
    caption: str
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A term in the tree: images at or below it, and below it alone those that carry the term itself."""

    hpo_id: str
    name: str
    num_images: int
    num_own: int


class Catalog:
    """The pairs of a data set with the tree over them.

    Args:
        data: Anything that `load_pairs` reads.
        ontology: The release.
    """

    def __init__(self, data: str | Path, ontology: PhenotypeOntology) -> None:
        self.ontology = ontology
        self.rows = load_pairs(data, ontology=ontology)
        labels = [np.unique(ontology.rows([i for i in hpo_ids if i in ontology])) for hpo_ids in self.rows["hpo_ids"]]
        self._own = np.concatenate([np.zeros(0, np.int64), *labels])  # (L,) rows of terms
        self._own_image = np.repeat(np.arange(len(labels)), [len(label) for label in labels])  # (L,) whose
        self._embeds: dict[str, NDArray] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _below(self) -> tuple[NDArray, NDArray]:
        """Every pair of an image and a term at or above one of its own, each once: terms ascending, and images."""
        owners, terms = self.ontology.ancestor_closure.expand(self._own)
        pairs = np.unique(np.stack([terms, self._own_image[owners]], axis=1), axis=0)
        return pairs[:, 0], pairs[:, 1]

    def images_of(self, hpo_id: str) -> NDArray[np.int64]:
        """Numbers of the images that carry the term or one below it."""
        terms, images = self._below
        row = self.ontology.row(hpo_id)
        return images[np.searchsorted(terms, row) : np.searchsorted(terms, row, side="right")]

    def node(self, hpo_id: str) -> Node:
        """A term with its counts."""
        term = self.ontology[hpo_id]
        own = int((self._own == self.ontology.row(hpo_id)).sum())
        return Node(term.id, term.name, len(self.images_of(term.id)), own)

    def children(self, hpo_id: str = PHENOTYPIC_ABNORMALITY) -> list[Node]:
        """Children that hold images, those with most first."""
        nodes = [self.node(child) for child in self.ontology.children(hpo_id)]
        return sorted((node for node in nodes if node.num_images), key=lambda node: (-node.num_images, node.name))

    def show(self, numbers: NDArray | list[int], cosines: NDArray | None = None) -> list[Found]:
        """Small pictures and captions of some images."""
        found = []
        for place, number in enumerate(numbers):
            row = self.rows[int(number)]
            picture = decode_image(row["image"])
            picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
            found.append(Found(picture, row["caption"], None if cosines is None else float(cosines[place])))
        return found

    def embed(self, encoder: Encoder) -> NDArray[np.float32]:
        """Embeddings (N, D) of all images by a model, made once."""
        if encoder.name not in self._embeds:
            self._embeds[encoder.name] = encoder.encode_images([row["image"] for row in self.rows])
        return self._embeds[encoder.name]

    def search(self, encoder: Encoder, query: NDArray, top: int) -> list[Found]:
        """The images nearest to a unit vector (D,), nearest first."""
        cosines = self.embed(encoder) @ query
        best = np.argsort(-cosines, kind="stable")[:top]
        return self.show(best, cosines[best])
