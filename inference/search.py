"""Search in an index of embeddings by text, picture or phenotype."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError
from phenolip.inference.embedding_index import CAPTION_EMBEDS, IMAGE_EMBEDS, THUMBNAIL, EmbeddingIndex
from phenolip.inference.model_knowledge import candidate_texts
from phenolip.inference.search_exact import check_top, exact_search
from phenolip.inference.search_faiss import FaissSearch
from phenolip.inference.term_texts import NAME_ONLY, check_texts, embed_terms
from phenolip.ontology.graph import PhenotypeOntology

COLUMNS = {"images": IMAGE_EMBEDS, "captions": CAPTION_EMBEDS}


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that was found.

    Attributes:
        rank: From 1.
        cosine: Cosine similarity of query and row.
        row: Number of the row in the index.
        fields: What the index knows of it: row_id, file_name, caption, hpo_ids, license, ...; no picture.
        thumbnail: A small JPEG of its picture, if the index has one.
    """

    rank: int
    cosine: float
    row: int
    fields: dict[str, Any]
    thumbnail: bytes | None = None

    def record(self) -> dict[str, Any]:
        """The hit as JSON values."""
        return {"rank": self.rank, "cosine": self.cosine, "row": self.row, **self.fields}


class EmbeddingSearch:
    """Finds the rows of an index whose images, or captions, are most like a query.

    Args:
        index: The embeddings.
        encoder: The model that made them.
        among: "images" or "captions".
        faiss: FAISS's description of an index to use in place of the exact search, such as "HNSW32".

    Raises:
        ConfigurationError: The model is another one, or the index has no such embeddings.

    Example: ``EmbeddingSearch(EmbeddingIndex("index"), Encoder.from_pretrained("model")).by_texts(["long fingers"])``
    """

    def __init__(
        self, index: EmbeddingIndex, encoder: Any, *, among: str = "images", faiss: str | None = None
    ) -> None:
        if among not in COLUMNS:
            raise ConfigurationError(f"`among` must be images or captions, got {among!r}.")
        index.check_model(encoder)
        self.index, self.encoder = index, encoder
        self.embeds = index.embeds(COLUMNS[among])
        self.faiss = FaissSearch(index, COLUMNS[among], faiss) if faiss is not None else None

    def by_texts(self, texts: Sequence[str], **options: Any) -> list[list[Hit]]:
        """The best rows for each text; ``options`` are those of `by_embeds`."""
        return self.by_embeds(self.encoder.encode_texts(texts), **options)

    def by_images(self, images: Sequence[Any], **options: Any) -> list[list[Hit]]:
        """The best rows for each image, of anything that `decode_image` reads."""
        return self.by_embeds(self.encoder.encode_images(images), **options)

    def by_terms(
        self, hpo_ids: Sequence[str], ontology: PhenotypeOntology, *, texts: Sequence[str] = NAME_ONLY, **options: Any
    ) -> list[list[Hit]]:
        """The best rows for each phenotype, by the texts that the model knows it under.

        Args:
            hpo_ids: The terms.
            ontology: Names them.
            texts: What speaks for a phenotype: ``name``, ``synonyms``, ``definition``; see `embed_terms`.
            options: Those of `by_embeds`.

        Raises:
            UnknownTermError: An id is in no term.
        """
        hpo_ids = [ontology.resolve(hpo_id) for hpo_id in hpo_ids]
        if check_texts(texts) == NAME_ONLY:
            names = {hpo_id: ontology[hpo_id].name for hpo_id in hpo_ids}
            written = dict(zip(names, self._term_texts(names), strict=True))
            return self.by_texts([written[hpo_id] for hpo_id in hpo_ids], **options)
        prompts = (getattr(self.encoder, "prompt_template", "{}"),)
        embeds = embed_terms(self.encoder.encode_texts, ontology, hpo_ids, texts=texts, prompts=prompts)
        return self.by_embeds(embeds, **options)

    def by_embeds(self, queries: NDArray, *, top: int = 10, rows: NDArray | None = None) -> list[list[Hit]]:
        """The best rows for each query embedding, best first, equal ones in the order of the index.

        Args:
            queries: (Q, D) embeddings of the index's model, unit norm.
            top: Rows to return, at most all.
            rows: Ascending rows to search among, such as those of `EmbeddingIndex.rows_below`; always exact.

        Raises:
            ConfigurationError: ``top`` is below 1.
            DataError: There is no row to search among, or a query is not finite.
        """
        check_top(top)
        if self.faiss is not None and rows is None:
            found = self.faiss.search(queries, top)
        else:
            found = exact_search(queries, self.embeds, top, rows=rows)
        is_found = found.rows >= 0  # an index of FAISS that is not flat may find fewer
        fields = iter(self.index.rows(found.rows[is_found]))
        hits = []
        for rows, scores, given in zip(found.rows.tolist(), found.scores.tolist(), is_found, strict=True):
            pairs = [(row, score) for row, score, there in zip(rows, scores, given, strict=True) if there]
            hits.append([_hit(rank, score, row, next(fields)) for rank, (row, score) in enumerate(pairs, 1)])
        return hits

    def _term_texts(self, names: dict[str, str]) -> list[str]:
        if hasattr(self.encoder, "knowledge"):
            return candidate_texts(self.encoder, names)
        return list(names.values())  # models of other families


def _hit(rank: int, cosine: float, row: int, fields: dict[str, Any]) -> Hit:
    thumbnail = fields.get(THUMBNAIL)
    return Hit(rank, cosine, row, {name: value for name, value in fields.items() if name != THUMBNAIL}, thumbnail)
