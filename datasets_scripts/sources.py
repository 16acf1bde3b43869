"""Every form that ``--data`` takes -> raw rows, before anything is checked.

Folders and lists of image files are read here, row by row, so that one bad row stays one bad row; Parquet, WebDataset
shards, the Hub and the cache are read by ``datasets``.
"""

import ast
import csv
import json
import logging
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import datasets
from datasets.exceptions import DatasetsError
from datasets.packaged_modules.cache.cache import Cache
from huggingface_hub.constants import HF_HUB_CACHE

from phenolip.exceptions import DataError
from phenolip.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

METADATA_FILES = ("metadata.jsonl", "metadata.csv")
_IMAGE_COLUMNS = ("image", "file_name", "image_path", "filepath", "path")
_CAPTION_COLUMNS = ("caption", "text", "title", "caption.txt", "txt")
_ID_COLUMNS = ("row_id", "source", "__key__", "subfigure_id", "figure_id")
#: What rows may come from, the widest first: an article holds its patients, a patient has cases, a case has studies.
#: ``group_id`` stands before all, as the column in which prepared data says what was decided.
GROUP_COLUMNS = ("group_id", "pmcid", "article_id", "patient_id", "case_id", "study_id")
#: What says under which terms a row may be used, and where it is from.
ORIGIN_COLUMNS = ("license", "license_url", "license_text", "attribution", "source", "url", "doi")
_LABEL_COLUMNS = ("hpo_ids", "phenotypes", "full_matches", "split")
_EXAMPLE = '{"file_name": "images/1.png", "caption": "...", "hpo_ids": ["HP:0001166"]}'
_MAX_LITERAL_CHARS = 100_000
_MAX_LISTED = 400  # characters
_LOADER_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError, tarfile.TarError)

Labels = tuple[tuple[str | None, str | None], ...]
FINDING_FIELDS = ("category", "severity", "location", "assertion", "hpo_id")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it came.

    Attributes:
        row_id: File name, key or id of the row; None where only the image's own name can tell.
        caption: Text, not yet stripped.
        labels: Pairs of phenotype name and HPO id, either of which may be missing.
        problem: Why the row cannot be used, where reading already showed it.
        group_id: Article, patient, case or study that the row comes from, the widest of ``GROUP_COLUMNS`` that it
            fills; empty where it fills none.
        findings: What its text says of single findings, as ``phenolip extract`` writes them: the texts (or None) of
            ``FINDING_FIELDS``.
        origin: The texts of those of ``ORIGIN_COLUMNS`` that the row fills.
    """

    row_id: str | None
    caption: str
    labels: Labels
    problem: str | None = None
    group_id: str = ""
    findings: tuple[dict[str, str | None], ...] = ()
    origin: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Rows and, in the same order, their undecoded images.

    Attributes:
        name: The data as the user named it.
        rows: Everything but the images.
        images: One column, ``image``.
        path_roots: Folders below which the path of an image that is not embedded must lie; None if the paths were
            checked as they were read.
    """

    name: str
    rows: list[RawRow]
    images: datasets.Dataset
    path_roots: tuple[Path, ...] | None = None


def open_source(data: str | Path, split: str | None = None) -> Source:
    """Read the raw rows of a folder, a file, a Hub dataset or a name in the ``datasets`` cache."""
    path = Path(data).expanduser()
    if path.is_dir():
        return _open_folder(path, str(data), split)
    if path.is_file():
        return _open_file(path, str(data), split)
    if isinstance(data, Path) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", data):
        raise DataError(f"Data {data} does not exist; give a folder, a file, or the id of a dataset on the Hub.")
    if "/" not in data and (cached := _from_cache(data)):
        return _from_dataset(_choose_split(cached, data, split), data)
    return _from_datasets(data, split, data)


def _open_folder(folder: Path, name: str, split: str | None) -> Source:
    if split and _is_data_folder(folder / split):
        return _open_folder(folder / split, f"{name}/{split}", None)
    for metadata in METADATA_FILES:
        if (folder / metadata).is_file():
            return _open_file(folder / metadata, name, split)
    if next(folder.rglob("*.parquet"), None):
        return _from_datasets(name, split, "parquet", data_files=parquet_files(str(folder), name))
    if shards := sorted(str(shard) for shard in folder.rglob("*.tar")):
        return _from_datasets(name, split, "webdataset", data_files=shards)
    tables = sorted(folder.glob("*.csv")) + sorted(folder.glob("*.jsonl"))
    if len(tables) == 1:
        return _open_file(tables[0], name, split)
    if parts := sorted(child.name for child in folder.iterdir() if _is_data_folder(child)):
        if len(parts) == 1 and not split:
            return _open_folder(folder / parts[0], f"{name}/{parts[0]}", None)
        raise DataError(f"Folder {name} holds the splits {', '.join(parts)}; name one of them, or give its folder.")
    raise DataError(
        f"Folder {name} has no metadata.jsonl; write one there with a line per image such as {_EXAMPLE}, or give a "
        "folder of Parquet files or WebDataset shards."
    )


def _is_data_folder(path: Path) -> bool:
    return path.is_dir() and (
        any((path / metadata).is_file() for metadata in METADATA_FILES)
        or any(child.suffix in (".parquet", ".tar") for child in path.iterdir())
    )


def _open_file(path: Path, name: str, split: str | None) -> Source:
    match path.suffix.lower():
        case ".jsonl":
            return _from_records(list(_read_jsonl(path)), path.parent, name, split)
        case ".csv" | ".tsv":
            return _from_records(list(_read_csv(path)), path.parent, name, split)
        case ".parquet":
            return _from_datasets(name, split, "parquet", data_files=str(path))
        case ".tar":
            return _from_datasets(name, split, "webdataset", data_files=str(path))
        case suffix:
            raise DataError(f"File {name} must be .jsonl, .csv, .tsv, .parquet or .tar, got {suffix or 'no suffix'}.")


# Lists of image files -----------------------------------------------------------------------------------------------


def _read_jsonl(path: Path) -> Iterator[dict[str, Any] | str]:
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            yield record if isinstance(record, dict) else "row is not a JSON object"


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}.") from error


def _from_records(records: list[dict[str, Any] | str], folder: Path, name: str, split: str | None) -> Source:
    columns = list(dict.fromkeys(key for record in records if isinstance(record, dict) for key in record))
    image_column = _first(_IMAGE_COLUMNS, columns)
    if image_column is None or _first(_CAPTION_COLUMNS, columns) is None:
        raise DataError(
            f"Data {name} must have a column for the image ({', '.join(_IMAGE_COLUMNS)}) and one for its text "
            f"({', '.join(_CAPTION_COLUMNS[:3])}), got {_listed(columns) or 'no rows'}."
        )
    if split and "split" in columns:
        records = [record for record in records if isinstance(record, dict) and record.get("split") == split]
        if not records:
            raise DataError(f"Data {name} has no row with `split` {split!r}.")
    elif split:
        logger.warning("%s is not divided into splits; all of it is used as %r.", name, split)
    rows, paths = [], []
    for number, record in enumerate(records):
        if isinstance(record, str):
            rows.append(RawRow(f"row {number}", "", (), record))
            paths.append(None)
            continue
        file_name = record.get(image_column)
        paths.append(_path_inside(folder, file_name))
        problem = None if paths[-1] or not file_name else "path leaves the folder"
        rows.append(_raw_row(record, str(file_name) if file_name else f"row {number}", problem))
    images = datasets.Dataset.from_dict(
        {"image": paths},
        features=datasets.Features({"image": datasets.Image(decode=False)}),
    )
    return Source(name, rows, images)


def _path_inside(folder: Path, file_name: Any) -> str | None:
    """The path of a file that a row names below ``folder``; None if the name could lead elsewhere."""
    if not isinstance(file_name, str) or not file_name or "\0" in file_name or not _is_unicode(file_name):
        return None
    for path in (PurePosixPath(file_name), PureWindowsPath(file_name)):
        if path.anchor or ".." in path.parts:
            return None
    return str((folder / file_name).absolute())


# What `datasets` reads ----------------------------------------------------------------------------------------------


def _from_cache(name: str) -> datasets.DatasetDict | None:
    """What was prepared under a plain name; asking the Hub first would cost half a minute without a network.

    Of several configurations that named `pairs` is meant: PhenoKG keeps other tables beside its pairs.
    """
    for config_name in (None, "pairs"):
        try:
            return Cache(dataset_name=name, config_name=config_name, version="auto", hash="auto").as_dataset()
        except (
            ValueError,
            OSError,
        ):  # no such name, several configurations, a broken entry: `load_dataset` says which
            continue
    return None


def parquet_files(data: str, name: str) -> dict[str, list[str]]:
    """Parquet files of each split of a folder or Hub data set, as `datasets` tells them from card or names.

    Loading the folder itself would cache it under the folder's name, where `load_dataset("phenobench")` might find it.
    """
    try:
        found = datasets.load_dataset_builder(data).config.data_files or {}
    except _LOADER_ERRORS as error:
        raise _unreadable(name, error) from error
    parquet = {str(split): [file for file in files if file.endswith(".parquet")] for split, files in found.items()}
    return {split: files for split, files in parquet.items() if files}


def _from_datasets(name: str, split: str | None, *args: str, **kwargs: Any) -> Source:
    try:
        loaded = datasets.load_dataset(*args, **kwargs)
    except _LOADER_ERRORS as error:
        raise _unreadable(name, error) from error
    return _from_dataset(_choose_split(loaded, name, split), name)


def _unreadable(name: str, error: Exception) -> DataError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    return DataError(
        f"Data {name} cannot be read by `datasets`: {reason}; give a folder, a file, the id of a dataset on the Hub, "
        "or run `phenolip prepare` first."
    )


def _choose_split(loaded: datasets.DatasetDict, name: str, split: str | None) -> datasets.Dataset:
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split in loaded:
        return loaded[split]
    if split and len(loaded) == 1:
        (dataset,) = loaded.values()
        if "split" in dataset.column_names and split in (values := dataset["split"][:]):
            return dataset.select([row for row, value in enumerate(values) if value == split])
    asked = f"no split {split!r}" if split else "several splits"
    raise DataError(f"Data {name} has {asked}; name one of {', '.join(loaded)}.")


def _from_dataset(dataset: datasets.Dataset, name: str) -> Source:
    image_column = _image_column(dataset)
    texts = dataset.remove_columns(image_column) if image_column else dataset
    columns = [*texts.column_names]
    if "json" in columns and isinstance(texts.features["json"], dict):
        columns += texts.features["json"]
    if _first(_CAPTION_COLUMNS, columns) is None:
        raise DataError(f"Data {name} must have a column `caption`, got {_listed(dataset.column_names)}.")
    wanted = {*_CAPTION_COLUMNS, *_ID_COLUMNS, *GROUP_COLUMNS, *ORIGIN_COLUMNS}
    wanted |= {*_LABEL_COLUMNS, "findings", "json"}
    texts = texts.select_columns([column for column in texts.column_names if column in wanted])
    try:
        records = ({**(record.get("json") or {}), **record} for record in texts)
        rows = [_raw_row(record, _first_value(record, _ID_COLUMNS)) for record in records]
    except (*_LOADER_ERRORS, TypeError) as error:  # text that is no UTF-8, dates beyond all years
        raise _unreadable(name, error) from error
    if image_column is None:
        raise DataError(f"Data {name} must have a column of images, got {_listed(dataset.column_names)}.")
    images = dataset.select_columns([image_column])
    if image_column != "image":
        images = images.rename_column(image_column, "image")
    # A table of others could name any file of this machine; what `datasets` itself downloaded is in its caches.
    roots = (Path(datasets.config.HF_DATASETS_CACHE), Path(HF_HUB_CACHE))
    try:
        images = images.cast_column("image", datasets.Image(decode=False))
    except (*_LOADER_ERRORS, TypeError) as error:
        raise DataError(
            f"Data {name} must have pictures in its column {image_column}, got {dataset.features[image_column]}."
        ) from error
    return Source(name, rows, images, roots)


def _image_column(dataset: datasets.Dataset) -> str | None:
    typed = [column for column, feature in dataset.features.items() if isinstance(feature, datasets.Image)]
    if typed:
        return "image" if "image" in typed else typed[0]
    endings = {column: f".{column.rsplit('.', 1)[-1].lower()}" for column in dataset.column_names}
    by_suffix = [column for column, ending in endings.items() if ending in IMAGE_SUFFIXES]
    return "image" if "image" in dataset.column_names else next(iter(by_suffix), None)


# Rows ---------------------------------------------------------------------------------------------------------------


def _raw_row(record: Mapping[str, Any], row_id: Any, problem: str | None = None) -> RawRow:
    caption = _first_value(record, _CAPTION_COLUMNS)
    try:
        labels = _labels(record)
    except (ValueError, TypeError, LookupError, SyntaxError, MemoryError, RecursionError):
        labels, problem = (), problem or "labels cannot be read"
    try:
        findings = _findings(record.get("findings"))
    except (ValueError, TypeError, RecursionError):
        findings, problem = (), problem or "findings cannot be read"
    caption = caption if isinstance(caption, str) else ""
    row_id = None if row_id is None else str(row_id)  # numbers, where a table holds them
    group_id = _group_id(record)
    origin = {name: text for name in ORIGIN_COLUMNS if (text := _cell_text(record.get(name)))}
    said = [text for finding in findings for text in finding.values() if text]
    if not all(_is_unicode(text) for text in (caption, row_id or "", group_id, *origin.values(), *said)):
        return RawRow(None, "", (), "text is not valid Unicode")
    return RawRow(row_id, caption, labels, problem, group_id, findings, origin)


def _group_id(record: Mapping[str, Any]) -> str:
    """The widest group that the row names: a finer one would let two studies of one patient be split."""
    return next((name for column in GROUP_COLUMNS if (name := _cell_text(record.get(column)))), "")


def _cell_text(value: Any) -> str:
    """A name or number as text; empty for an empty cell, which is None, blank or NaN. 0 is a number like any other."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with an empty cell among them
        value = int(value)
    text = str(value).strip()
    return "" if text.casefold() == "nan" else text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False
    return True


def _labels(record: Mapping[str, Any]) -> Labels:
    """Names and ids of a row, from ``hpo_ids`` and ``phenotypes`` or from PhenoBench's ``full_matches``."""
    names, ids = _cells(record.get("phenotypes")), _cells(record.get("hpo_ids"))
    if any(isinstance(name, Mapping) for name in names):  # the phenotypes of the table `pairs`
        present = [link for link in names if link.get("assertion") in (None, "", "present")]
        return tuple((link.get("name"), link.get("hpo_id")) for link in present)
    if not names and not ids:
        matches = _literal(record.get("full_matches") or "[]")
        return tuple((_text(match if isinstance(match, str) else match[0]), None) for match in matches)
    if not ids:
        return tuple((_text(name), None) for name in names)
    if len(names) != len(ids):
        names = [None] * len(ids)
    return tuple((_text(name), _text(hpo_id)) for name, hpo_id in zip(names, ids, strict=True))


def _findings(value: Any) -> tuple[dict[str, str | None], ...]:
    """Findings from a list of mappings, or from JSON of one."""
    if isinstance(value, str):
        value = json.loads(value) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(finding, Mapping) for finding in value):
        raise TypeError("not a list of findings")
    return tuple({name: _text(finding.get(name)) for name in FINDING_FIELDS} for finding in value)


def _cells(value: Any) -> list[Any]:
    """A list, a Python literal of one, or text whose parts stand between ``|`` or ``;``."""
    if value is None:
        return []
    if isinstance(value, str):
        value = value.strip()
        if not value.startswith(("[", "(")):
            return [part.strip() for part in re.split(r"[|;]|,\s*(?=HP:)", value) if part.strip()]
    return _literal(value)


def _literal(value: Any) -> list[Any]:
    if isinstance(value, str):
        if len(value) > _MAX_LITERAL_CHARS:
            raise ValueError("literal too long")
        value = ast.literal_eval(value.strip() or "[]")
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return list(value)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("not text")
    return value.strip() or None if value else None


def _listed(columns: Iterable[Any]) -> str:
    """Names for a message: of a table of 100,000 columns the first."""
    shown = ", ".join(map(str, columns))
    return shown if len(shown) <= _MAX_LISTED else f"{shown[:_MAX_LISTED]} ..."


def _first(candidates: Iterable[str], columns: Iterable[str]) -> str | None:
    present = set(columns)
    return next((candidate for candidate in candidates if candidate in present), None)


def _first_value(record: Mapping[str, Any], columns: Iterable[str]) -> Any:
    return next((record[column] for column in columns if record.get(column) is not None), None)
