"""A folder of embeddings: Parquet shards as `phenolip embed` writes them, read as matrices that stay on the disk."""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm.auto import tqdm

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference.embed_config import DTYPES
from phenolip.inference.encoder import Encoder
from phenolip.inference.search_exact import check_finite
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
IMAGE_EMBEDS, CAPTION_EMBEDS, THUMBNAIL = "image_embeds", "caption_embeds", "thumbnail"
MAPPED_FOLDER = "mapped"  # what is derived from the shards, and may be deleted
_HEAVY = {IMAGE_EMBEDS, CAPTION_EMBEDS, THUMBNAIL}


def model_fingerprint(encoder: Any) -> str:
    """Hash of all that decides where a model puts an image or text: weights, picture and text settings, prompt.

    Precision is left out: it moves an embedding by less than neighbours differ.
    """
    passing = {"dtype", "num_texts", "num_texts_truncated", "logit_scale"}
    facts = {name: value for name, value in encoder.describe().items() if name not in passing}
    return content_hash([json.dumps(facts, sort_keys=True), getattr(encoder, "prompt_template", "{}")])


class EmbeddingIndex:
    """Embeddings of images and captions with what is known of each row.

    Args:
        path: Folder that `phenolip embed` has finished.

    Raises:
        ConfigurationError: It holds no manifest.
        DataError: The manifest or a shard is damaged, missing or of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.manifest = _read_manifest(self.path)
        self.shards = [self.path / shard["file"] for shard in self.manifest["shards"]]
        starts = np.cumsum([0, *(shard["num_rows"] for shard in self.manifest["shards"])])
        self.starts, self.num_rows = starts[:-1], int(starts[-1])
        for shard, facts in zip(self.shards, self.manifest["shards"], strict=True):
            if not shard.is_file() or shard.stat().st_size != facts["num_bytes"]:
                raise DataError(f"Index {self.path}: {shard.name} is missing or damaged; run `phenolip embed` again.")

    def __len__(self) -> int:
        return self.num_rows

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return self.manifest["width"]

    @property
    def fingerprint(self) -> str:
        """Hash of the shards."""
        return content_hash([shard["sha256"] for shard in self.manifest["shards"]])

    def check_model(self, encoder: Encoder) -> None:
        """Sees that queries come from the model that made the index.

        Raises:
            ConfigurationError: They do not; cosines between two models mean nothing.
        """
        found = model_fingerprint(encoder)
        if found != self.manifest["model_fingerprint"]:
            raise ConfigurationError(
                f"`--model` must be the model of the index, {self.manifest['model']} with fingerprint "
                f"{self.manifest['model_fingerprint']}, got {encoder.name} with {found}."
            )

    def embeds(self, column: str = IMAGE_EMBEDS) -> NDArray:
        """(N, D) embeddings of a column, mapped from the disk in the precision of the shards.

        The first call copies them out of the Parquet files, which cannot be mapped, and sees that all are finite.

        Raises:
            ConfigurationError: The index has no such column.
            DataError: A number is not finite.
        """
        if column not in self.manifest["columns"]:
            raise ConfigurationError(f"Index {self.path} must have the column `{column}`; embed with captions.")
        file = self.path / MAPPED_FOLDER / f"{column}-{self.fingerprint}.npy"
        if not file.is_file():
            self._map(column, file)
        return np.load(file, mmap_mode="r", allow_pickle=False)

    def rows(self, numbers: Sequence[int] | NDArray) -> list[dict[str, Any]]:
        """Everything but the embeddings of some rows, in the order asked."""
        numbers = np.asarray(numbers, np.int64)
        owners = np.searchsorted(self.starts, numbers, "right") - 1
        found: dict[int, dict[str, Any]] = {}
        for owner in np.unique(owners):
            wanted = np.unique(numbers[owners == owner])
            columns = [name for name in pq.read_schema(self.shards[owner]).names if name not in _HEAVY - {THUMBNAIL}]
            table = pq.read_table(self.shards[owner], columns=columns, partitioning=None)
            found |= zip(wanted.tolist(), table.take(wanted - self.starts[owner]).to_pylist(), strict=True)
        return [found[number] for number in numbers.tolist()]

    def rows_below(self, hpo_id: str, ontology: PhenotypeOntology) -> NDArray:
        """Ascending numbers of the rows labelled with a term or one of its descendants.

        Raises:
            UnknownTermError: The id is in no term.
        """
        below = set(ontology.descendants(ontology.resolve(hpo_id), include_self=True))
        labels, codes, owners = self._labels
        marked = np.array([_current(label, ontology) in below for label in labels], bool)
        return np.unique(owners[marked[codes]])

    @cached_property
    def _labels(self) -> tuple[list[str], NDArray, NDArray]:
        """The distinct labels; of every label of every row its place among them, and the number of the row."""
        parts, owners = [], []
        for shard, start in zip(self.shards, self.starts, strict=True):
            column = pq.read_table(shard, columns=["hpo_ids"], partitioning=None)["hpo_ids"].combine_chunks()
            parts.append(column.flatten())
            owners.append(np.repeat(np.arange(len(column)) + start, column.value_lengths().fill_null(0)))
        encoded = pa.concat_arrays(parts).dictionary_encode()
        return encoded.dictionary.to_pylist(), np.asarray(encoded.indices), np.concatenate(owners)

    def _map(self, column: str, file: Path) -> None:
        dtype = np.dtype(self.manifest["dtype"])
        with whole_file(file) as partial:
            header = {"descr": dtype.str, "fortran_order": False, "shape": (self.num_rows, self.width)}
            np.lib.format.write_array_header_2_0(partial, header)
            number = 0
            for shard in tqdm(self.shards, desc=f"Mapping {column}", unit="shard", disable=None):
                for batch in pq.ParquetFile(shard).iter_batches(4096, columns=[column]):
                    values = np.asarray(batch.column(0).flatten()).reshape(-1, self.width)
                    check_finite(values.astype(np.float32), np.arange(number, number + len(values)), column)
                    partial.write(np.ascontiguousarray(values, dtype).data)
                    number += len(values)


def _current(hpo_id: str, ontology: PhenotypeOntology) -> str | None:
    """The id in this release; None where it has none, as the index may be of another one."""
    try:
        return ontology.resolve(hpo_id)
    except UnknownTermError:
        return None


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"`index` must be a folder that `phenolip embed` has finished, got {path}; it has no {MANIFEST}."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"Index {path}: {MANIFEST} cannot be read ({error}).") from error
    kinds = {"model": str, "model_fingerprint": str, "dtype": str, "width": int, "columns": list, "shards": list}
    good = isinstance(manifest, dict) and manifest.get("format_version") == FORMAT_VERSION
    good = good and all(isinstance(manifest.get(name), kind) for name, kind in kinds.items())
    if not good or manifest["dtype"] not in DTYPES or not all(map(_is_shard, manifest["shards"])):
        raise DataError(f"Index {path}: {MANIFEST} must be one that this version of `phenolip embed` writes.")
    return manifest


def _is_shard(facts: Any) -> bool:
    kinds = {"file": str, "num_rows": int, "num_bytes": int, "sha256": str}
    typed = isinstance(facts, dict) and all(isinstance(facts.get(name), kind) for name, kind in kinds.items())
    return typed and bool(re.fullmatch(r"embeddings-\d{5,}\.parquet", facts["file"]))
