"""Folders of Parquet files with embedded images: written whole or not at all, never over a folder of someone else."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from phenolip.exceptions import DataError
from phenolip.images import drop_patient_data, read_image, shrink_image

MANIFEST = "manifest.json"
_WRITER = "phenolip prepare"
_ROWS_PER_GROUP = 128  # about 4 MB of the gallery: what a reader of one row has to fetch
_BYTES_PER_SHARD = 500_000_000


def embedded_rows(pairs: datasets.Dataset, *, max_side: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows of ``load_pairs`` with the bytes of their images, scaled down to ``max_side`` pixels if it is given.

    ``sha256`` follows the bytes that are yielded.
    """

    def embed(row: dict[str, Any]) -> dict[str, Any]:
        file, _ = read_image(row["image"])
        name = PurePath(row["image"]["path"] or row["row_id"]).name
        data = drop_patient_data(file)
        if data is not file:
            name = PurePath(name).with_suffix(".png").name
            row = {**row, "sha256": hashlib.sha256(data).hexdigest()}
        if max_side is not None:
            data, is_new = shrink_image(data, max_side)
            if is_new:
                name = PurePath(name).with_suffix(".jpg").name
                row = {**row, "sha256": hashlib.sha256(data).hexdigest()}
        return {**row, "image": {"bytes": data, "path": name}}

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for rows in _groups(pairs):
            yield from pool.map(embed, rows)


def write_parquet(
    rows: Iterable[Mapping[str, Any]], folder: Path, split: str, features: datasets.Features
) -> list[Path]:
    """Write rows with embedded images as the shards ``{split}-00000-of-0000N.parquet`` of a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = features.arrow_schema  # carries the features, so that `datasets` knows the images again
    shards: list[Path] = []
    writer, num_bytes = None, 0
    try:
        for group in _groups(rows):
            if writer is None or num_bytes > _BYTES_PER_SHARD:
                if writer is not None:
                    writer.close()
                shards.append(folder / f"{split}-{len(shards):05d}.parquet")
                writer, num_bytes = pq.ParquetWriter(shards[-1], schema), 0
            table = pa.Table.from_pylist([{name: row[name] for name in features} for row in group], schema=schema)
            num_bytes += table.nbytes
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    names = [f"{split}-{number:05d}-of-{len(shards):05d}.parquet" for number in range(len(shards))]
    return [shard.rename(folder / name) for shard, name in zip(shards, names, strict=True)]


@contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place at the end, or vanishes if the work fails.

    Only an empty folder, or one that an earlier ``prepare`` wrote, is replaced.
    """
    path = Path(path).expanduser().absolute()
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(path: Path) -> None:
    """Raises ``DataError`` if there is something that no earlier ``prepare`` wrote."""
    if path.exists() and not _is_ours(path):
        raise DataError(f"Output {path} exists and was not written by `{_WRITER}`; name a new folder or an empty one.")


def write_manifest(folder: Path, command: str, **facts: Any) -> dict[str, Any]:
    """Write what a folder was made from; the file also marks the folder as one that may be replaced."""
    manifest = {"written_by": f"{_WRITER} {command}", **facts}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def write_card(folder: Path, front: Mapping[str, Any], body: str) -> None:
    """Write a dataset card: README.md with YAML front matter."""
    header = yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)
    (folder / "README.md").write_text(f"---\n{header}---\n\n{body.strip()}\n", encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines through a temporary name, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    temporary.replace(path)


def size_category(num_rows: int) -> str:
    """The class that the Hub sorts data sets of so many rows into.

    Example:
        >>> size_category(2_786)
        '1K<n<10K'
    """
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if num_rows < bound), "n>1M")


def data_revision(pairs: datasets.Dataset) -> str:
    """SHA-256 over what rows hold (image files, captions, phenotypes, groups, findings), whatever their order and ids.

    Rows without a group or findings count as rows of a table that has no such column.
    """
    groups = pairs["group_id"] if "group_id" in pairs.column_names else [""] * len(pairs)
    findings = pairs["findings"] if "findings" in pairs.column_names else [[]] * len(pairs)
    columns = (pairs["sha256"], pairs["caption"], pairs["hpo_ids"], groups, findings)
    rows = sorted(
        json.dumps([sha, caption, sorted(ids), *([group] if group else []), *([said] if said else [])])
        for sha, caption, ids, group, said in zip(*columns, strict=True)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _groups(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    return iter(lambda: list(islice(rest, _ROWS_PER_GROUP)), [])


def _is_ours(path: Path) -> bool:
    if not path.is_dir():
        return False
    if not any(path.iterdir()):
        return True
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and str(manifest.get("written_by", "")).startswith(_WRITER)
