"""predictions.parquet of a task over classes, faces or masks: truth and answer of each item, to count again from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phenolip.whole_files import whole_file

PREDICTIONS = "predictions.parquet"
SCORES = pa.schema(
    {
        "draw": pa.dictionary(pa.int32(), pa.string()),  # "100_percent 0": share of the training images and seed
        "part": pa.dictionary(pa.int32(), pa.string()),  # "test", or "validation" of what thresholds are fitted on
        "row_id": pa.string(),
        "group_id": pa.string(),
        "truth": pa.list_(pa.int8()),  # 1, 0 or -1 (uncertain) of each class
        "scores": pa.list_(pa.float64()),  # cosines, or probabilities of a probe
    }
)
PIXELS = pa.schema(
    {
        "draw": pa.dictionary(pa.int32(), pa.string()),  # "frozen_100_percent 0", with "imagenet_" or "random_" before
        "threshold": pa.float64(),
        "threshold_from": pa.dictionary(pa.int32(), pa.string()),  # "validation", or "half"
        "row_id": pa.string(),
        "group_id": pa.string(),
        "num_mask": pa.int64(),  # pixels of the mask file, of what was found, of both
        "num_found": pa.int64(),
        "num_shared": pa.int64(),
    }
)
COLUMNS = "columns"  # key of the schema's metadata: JSON list of the names of the classes or candidates


@dataclass(frozen=True)
class ItemScores:
    """Scores of N items over C classes.

    Attributes:
        part: "test" or "validation".
        ids: N names of the rows.
        groups: N patients, cases or lesions.
        truth: (N, C) of 1, 0 and -1.
        scores: (N, C).
        draw: Which training of several; empty where there is one.
    """

    part: str
    ids: Sequence[str]
    groups: Sequence[str]
    truth: NDArray
    scores: NDArray
    draw: str = ""


@dataclass(frozen=True)
class ItemPixels:
    """Pixels of N masks at one threshold.

    Attributes:
        draw: Encoder, mode, share and seed.
        threshold: Probability from which a pixel is found.
        threshold_from: "validation" or "half".
        ids: N names of the images.
        groups: N patients or cases.
        counts: (N, 3) pixels of the mask, of what was found and of both.
    """

    draw: str
    threshold: float
    threshold_from: str
    ids: Sequence[str]
    groups: Sequence[str]
    counts: NDArray


def write_item_scores(folder: Path, parts: Sequence[ItemScores], columns: Sequence[str]) -> None:
    """Writes the scores of a run into its folder; `columns` are the names of the C classes."""
    own = (
        {
            "part": [part.part] * len(part.ids),
            "truth": list(np.asarray(part.truth, np.int8)),
            "scores": list(np.asarray(part.scores, np.float64)),
        }
        for part in parts
    )
    _write(folder, SCORES, columns, parts, own)


def write_item_pixels(folder: Path, parts: Sequence[ItemPixels]) -> None:
    """Writes the pixel counts of a run into its folder."""
    names = ("num_mask", "num_found", "num_shared")
    own = (
        {
            "threshold": [part.threshold] * len(part.ids),
            "threshold_from": [part.threshold_from] * len(part.ids),
            **dict(zip(names, np.asarray(part.counts, np.int64).T, strict=True)),
        }
        for part in parts
    )
    _write(folder, PIXELS, names, parts, own)


def _write(
    folder: Path,
    schema: pa.Schema,
    columns: Sequence[str],
    parts: Sequence[ItemScores | ItemPixels],
    own: Iterable[Mapping[str, Any]],
) -> None:
    """Writes what all tables of items have, and the `own` columns of each part."""
    folder.mkdir(parents=True, exist_ok=True)
    named: Mapping[str, str] = {COLUMNS: json.dumps(list(columns), ensure_ascii=False)}
    schema = schema.with_metadata(named)
    with whole_file(folder / PREDICTIONS) as file, pq.ParquetWriter(file, schema) as writer:
        for part, table in zip(parts, own, strict=True):
            items = {"draw": [part.draw] * len(part.ids), "row_id": list(part.ids), "group_id": list(part.groups)}
            writer.write_table(pa.table({**items, **table}, schema=schema))
