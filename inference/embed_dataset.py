"""Embeds image-caption pairs shard by shard; what is finished stays when the work is cut off."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image, encode_thumbnail
from phenolip.inference.embed_config import EmbedConfig
from phenolip.inference.embedding_index import (
    CAPTION_EMBEDS,
    FORMAT_VERSION,
    IMAGE_EMBEDS,
    MANIFEST,
    THUMBNAIL,
    model_fingerprint,
)
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.provenance import content_hash, write_json
from phenolip.whole_files import whole_file

SETTINGS = "settings.json"  # written before the first shard: what a resumed run must share
BAD_ROWS = "bad_rows.jsonl"
_ROWS_PER_GROUP = 1024  # what a reader of one row has to fetch
_DECODERS = 4


def embed_dataset(
    encoder: Any,
    data: str | Path,
    output: str | Path,
    config: EmbedConfig | None = None,
    *,
    split: str | None = None,
    ontology: PhenotypeOntology | None = None,
    max_bad_fraction: float = 0.01,
) -> dict[str, Any]:
    """Writes an index that `EmbeddingIndex` opens; called again, it goes on behind the last finished shard.

    A shard holds row_id, file_name, caption, phenotypes, hpo_ids (current ids), sha256, group_id, the columns that say
    where a row is from, `image_embeds` and `caption_embeds` (fixed-size lists, unit norm), and `thumbnail` (JPEG). Its
    bytes depend on data, model, settings and machine alone, not on where an earlier run was cut off.

    Args:
        encoder: A model with an image side, of any family.
        data: What `load_pairs` accepts.
        output: Folder of the index; also gets ``bad_rows.jsonl`` where rows were left out.
        config: Settings.
        split: Which split, where the data has several.
        ontology: Release to resolve ids to; None loads the installed one when a row has labels.
        max_bad_fraction: Share of rows that may be left out, between 0 and 1.

    Returns:
        The manifest.

    Raises:
        ConfigurationError: The folder holds something else, or an index of other data, model or settings.
        DataError: The data cannot be read, or more rows are bad than allowed.
    """
    config, output = config or EmbedConfig(), Path(output).expanduser()
    _check_output(output)
    pairs, report = load_pairs_with_report(
        data,
        split=split,
        ontology=ontology,
        max_bad_fraction=max_bad_fraction,
        bad_rows_path=output / BAD_ROWS,
        keep_origin=True,
    )
    texts = pairs.remove_columns("image")
    settings = {
        "format_version": FORMAT_VERSION,
        "model_fingerprint": model_fingerprint(encoder),
        "data_fingerprint": content_hash([json.dumps(row, sort_keys=True) for row in texts]),
        **asdict(config),
    }
    _agree(output / SETTINGS, settings)
    shards = []
    with tqdm(total=len(pairs), desc="Embedding", unit="row", disable=None) as progress:
        for number, start in enumerate(range(0, len(pairs), config.rows_per_shard)):
            path = output / f"embeddings-{number:05d}.parquet"
            part = pairs.select(range(start, min(start + config.rows_per_shard, len(pairs))))
            if path.is_file():
                progress.update(len(part))
            else:
                _write_shard(path, _shard(part, encoder, config, progress))
            shards.append(_facts(path, len(part)))
    manifest = {
        "written_by": "phenolip embed",
        **settings,
        "model": encoder.name,
        "data": report.source,
        "hpo_release": report.hpo_release,
        "num_rows": len(pairs),
        "num_rows_left_out": report.bad_rows,
        "width": pq.read_schema(output / shards[0]["file"]).field(IMAGE_EMBEDS).type.list_size,
        "columns": pq.read_schema(output / shards[0]["file"]).names,
        "shards": shards,
    }
    write_json(output / MANIFEST, manifest)
    return manifest


def _check_output(output: Path) -> None:
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or _is_ours(output))):
        raise ConfigurationError(f"`output` must be a new or empty folder, or one of `phenolip embed`, got {output}.")


def _is_ours(output: Path) -> bool:
    return (output / SETTINGS).is_file() or {path.name for path in output.iterdir()} == {BAD_ROWS}


def _agree(path: Path, settings: dict[str, Any]) -> None:
    """Keeps the settings of a new index, or sees that those of an old one are the same."""
    if not path.is_file():
        write_json(path, settings)
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete the folder and embed again.") from error
    differ = [name for name in settings if found.get(name) != settings[name]]
    if differ:
        raise ConfigurationError(
            f"`output` {path.parent} holds an index of other {', '.join(differ)}; name another folder, or delete it."
        )


def _shard(part: datasets.Dataset, encoder: Any, config: EmbedConfig, progress: tqdm) -> pa.Table:
    embeds, thumbnails = [], []
    for pictures in _pictures(part, config.batch_size):
        embeds.append(encoder.encode_images(pictures, batch_size=config.batch_size))
        if config.thumbnail_px:
            thumbnails += [encode_thumbnail(picture, config.thumbnail_px) for picture in pictures]
        progress.update(len(pictures))
    table = part.remove_columns("image").with_format("arrow")[:]
    columns = {"row_id": table["row_id"], "file_name": pa.array(_file_names(part), pa.string())}
    columns |= {name: table[name] for name in table.column_names if name not in ("row_id", "findings")}
    columns[IMAGE_EMBEDS] = _fixed_lists(np.concatenate(embeds), config.dtype)
    if config.captions:
        texts = encoder.encode_texts(list(part["caption"]), batch_size=config.batch_size)
        columns[CAPTION_EMBEDS] = _fixed_lists(texts, config.dtype)
    if config.thumbnail_px:
        columns[THUMBNAIL] = pa.array(thumbnails, pa.binary())
    return pa.table(columns)


def _pictures(part: datasets.Dataset, batch_size: int) -> Iterator[list[Image.Image]]:
    """Pictures in batches; the next one is decoded while the model is at work."""
    images, waiting = part["image"], []
    with ThreadPoolExecutor(_DECODERS) as pool:
        for start in range(0, len(part) + batch_size, batch_size):
            rows = range(start, min(start + batch_size, len(part)))
            following = [pool.submit(decode_image, images[row]) for row in rows]
            if waiting:
                yield [future.result() for future in waiting]
            waiting = following


def _file_names(part: datasets.Dataset) -> list[str | None]:
    """The names of image files as the data gives them, without folders of this machine."""
    names = []
    for image, row_id in zip(part["image"], part["row_id"], strict=True):
        path = image["path"] or ""
        names.append(row_id if path.endswith(row_id) else PurePath(path).name or None)
    return names


def _fixed_lists(embeds: NDArray, dtype: str) -> pa.FixedSizeListArray:
    values = np.ascontiguousarray(embeds, np.dtype(dtype)).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(values), embeds.shape[1])


def _write_shard(path: Path, table: pa.Table) -> None:
    """Texts compressed; embeddings and JPEG files, which hardly shrink, as they are."""
    texts = [name for name in table.column_names if name not in (IMAGE_EMBEDS, CAPTION_EMBEDS, THUMBNAIL)]
    dense = [f"{IMAGE_EMBEDS}.list.element", f"{CAPTION_EMBEDS}.list.element", THUMBNAIL]
    compression = dict.fromkeys(dense, "none") | dict.fromkeys(texts, "zstd")
    compression |= {f"{name}.list.element": "zstd" for name in ("phenotypes", "hpo_ids")}
    with whole_file(path) as file:
        pq.write_table(table, file, row_group_size=_ROWS_PER_GROUP, use_dictionary=texts, compression=compression)


def _facts(path: Path, num_rows: int) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "num_rows": num_rows, "num_bytes": path.stat().st_size, "sha256": sha256}
