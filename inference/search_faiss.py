"""Search by FAISS through `datasets`: the same answers by a flat index, nearly the same ones faster by others."""

from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError
from phenolip.inference.embedding_index import MAPPED_FOLDER, EmbeddingIndex
from phenolip.inference.search_exact import Neighbours
from phenolip.provenance import content_hash

FLAT = "Flat"
_BATCH_SIZE = 16_384  # rows handed to FAISS at a time, so that the matrix stays on the disk


class FaissSearch:
    """A FAISS index by inner product over one column of embeddings; needs the extra ``faiss``.

    It is held in memory. What is not flat is trained once and kept beside the shards.

    Args:
        index: The embeddings.
        column: Which of them.
        factory: FAISS's description of an index: "Flat" compares all, "HNSW32" or "IVF1024,Flat" only some.

    Raises:
        ConfigurationError: FAISS knows no such index.
    """

    def __init__(self, index: EmbeddingIndex, column: str, factory: str = FLAT) -> None:
        import faiss  # of the extra "faiss"

        embeds = index.embeds(column)
        self.name = column
        self.table = datasets.Dataset.from_dict({"row": np.arange(len(embeds))})
        key = content_hash([index.fingerprint, column, factory])
        file = index.path / MAPPED_FOLDER / f"{column}-{key}.faiss"
        if file.is_file():
            self.table.load_faiss_index(column, file)
            return
        options: dict[str, Any] = {"string_factory": factory, "metric_type": faiss.METRIC_INNER_PRODUCT}
        try:
            self.table.add_faiss_index_from_external_arrays(
                np.asarray(embeds, np.float32), column, batch_size=_BATCH_SIZE, **options
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].rstrip(".")
            raise ConfigurationError(
                f"`faiss` must describe an index such as 'Flat' or 'HNSW32', got {factory!r}: {reason}."
            ) from error
        if factory != FLAT:
            self.table.save_faiss_index(column, file)

    def search(self, queries: NDArray, top: int) -> Neighbours:
        """As `exact_search`; row -1 where FAISS finds no further one; equal scores come as they may."""
        scores, rows = self.table.search_batch(self.name, np.asarray(queries, np.float32), k=min(top, len(self.table)))
        return Neighbours(np.asarray(rows), np.asarray(scores, np.float64))
