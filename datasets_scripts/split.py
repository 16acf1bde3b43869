"""Train and validation without leaks: rows of one caption, case or image, or a near copy of it, stay together.

What counts as equal or near is `phenolip.near_copies`; the grouping is here.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
from tqdm.auto import tqdm

from phenolip.exceptions import DataError
from phenolip.near_copies import NUM_BITS, fold_caption, near_hashes, perceptual_hash


def split_by_group(
    dataset: datasets.Dataset,
    *,
    validation_fraction: float = 0.15,
    seed: int = 0,
    max_phash_distance: int = 4,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Split the rows of ``load_pairs`` by group.

    Two rows are in one group if their captions are equal when case and spaces are folded, they come from one article,
    patient, case or study (``group_id``), their image files are equal, or their perceptual hashes differ in few bits;
    so are rows that a chain of such pairs joins. The order of the groups depends on the seed and on their contents
    alone, not on the order of the rows.

    Args:
        dataset: Rows with ``image``, ``caption``, ``sha256`` and ``group_id``.
        validation_fraction: Share of rows for validation, above 0 and below 1; met to within one group.
        seed: Which of the possible splits.
        max_phash_distance: Bits of 64 in which the hashes of near copies may differ; -1 compares no images.

    Returns:
        Train and validation, each in the order of ``dataset``.
    """
    settings = {"validation_fraction": validation_fraction, "seed": seed, "max_phash_distance": max_phash_distance}
    train, validation, _ = split_rows_by_group(dataset, **settings)
    return dataset.select(train), dataset.select(validation)


def split_rows_by_group(
    dataset: datasets.Dataset,
    extra: datasets.Dataset | None = None,
    *,
    validation_fraction: float,
    seed: int,
    max_phash_distance: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``split_by_group`` in row numbers, with more rows that are trained on or left out but never validated on.

    Extra rows are grouped together with those of ``dataset`` and may join two of their groups. Those that join none
    leave the split as it is without them.

    Args:
        dataset: Rows to split; see ``split_by_group``, as for the settings.
        extra: Rows with the same columns.

    Returns:
        Rows of ``dataset`` for train, rows of ``dataset`` for validation, and the rows of ``extra`` that no group of a
        validation row holds, each ascending.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"`validation_fraction` must be above 0 and below 1, got {validation_fraction}.")
    if not -1 <= max_phash_distance <= NUM_BITS:
        raise DataError(f"`max_phash_distance` must be between -1 and 64 bits, got {max_phash_distance}.")
    together = datasets.concatenate_datasets([dataset, extra]) if extra is not None else dataset
    groups, others = np.split(group_rows(together, max_phash_distance=max_phash_distance), [len(dataset)])
    validation = _validation_rows(groups, dataset["sha256"][:], round(validation_fraction * len(dataset)), seed)
    train = np.setdiff1d(np.arange(len(dataset)), validation)
    return train, validation, np.flatnonzero(~np.isin(others, groups[validation]))


def _validation_rows(groups: np.ndarray, file_hashes: list[str], num_rows: int, seed: int) -> np.ndarray:
    """Rows of whole groups, about ``num_rows`` of them. Groups count from 0, none is empty."""
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    members.sort(key=lambda rows: _rank(seed, min(file_hashes[row] for row in rows)))
    if len(members) < 2:
        raise DataError(f"The data cannot be split: its {len(groups)} rows form {len(members)} group of near copies.")
    chosen: list[np.ndarray] = []
    room = max(1, num_rows)
    for rows in members:
        if len(rows) <= room:
            chosen.append(rows)
            room -= len(rows)
    return np.sort(np.concatenate(chosen or [min(members, key=len)]))


def group_rows(dataset: datasets.Dataset, *, max_phash_distance: int = 4) -> np.ndarray:
    """Group number of each row, counted from 0 in the order of first appearance; see ``split_by_group``."""
    links = _equal_pairs([fold_caption(caption) for caption in dataset["caption"]])
    links += _equal_pairs(dataset["sha256"][:])
    links += _equal_pairs([group or f"alone {row}" for row, group in enumerate(dataset["group_id"])])
    if max_phash_distance >= 0:
        links += _near_pairs(perceptual_hashes(dataset), max_phash_distance)
    parents = list(range(len(dataset)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parents[high] = low  # the root is the first row of its group
    roots = [root(row) for row in range(len(dataset))]
    return np.unique(roots, return_inverse=True)[1]


def perceptual_hashes(dataset: datasets.Dataset) -> np.ndarray:
    """The 64-bit perceptual hash of each image, as (N,) uint64."""

    def compute(row: int) -> int:
        return perceptual_hash(dataset[row]["image"])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        hashes = pool.map(compute, range(len(dataset)))
        bar = tqdm(hashes, total=len(dataset), desc="Hashing images", unit="image", disable=None)
        return np.fromiter(bar, dtype=np.uint64, count=len(dataset))


def _equal_pairs(keys: list[str]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(before, row) for row, key in enumerate(keys) if (before := first.setdefault(key, row)) != row]


def _near_pairs(hashes: np.ndarray, max_distance: int) -> list[tuple[int, int]]:
    """Pairs of rows, chained per hash value, whose hashes differ in at most ``max_distance`` bits."""
    values, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = [(int(first[value]), row) for row, value in enumerate(inverse) if first[value] != row]
    one, other, _ = near_hashes(values, max_distance=max_distance)
    return pairs + list(zip(first[one].tolist(), first[other].tolist(), strict=True))


def _rank(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}\t{key}".encode()).hexdigest()
