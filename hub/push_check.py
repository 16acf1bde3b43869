"""What a folder must be before any of it goes to the Hub: it loads, its card is valid, its rows may be shared."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, ModelCard

from phenolip.exceptions import DataError
from phenolip.hub.push_files import CARD, Selection, last_name
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPTextModel, PhenoLIPVisionModel

CLASSES = {kind.__name__: kind for kind in (PhenoLIPModel, PhenoLIPTextModel, PhenoLIPVisionModel)}
SHAREABLE = ("commercial", "non-commercial")
UNCHANGED_ONLY = "no-derivatives"
LICENCE_COLUMNS = ("row_id", "license", "license_category", "sha256", "figure_sha256", "caption", "caption_raw")
NOT_STATED = "other"  # what the card of a data set says whose licence nobody has named
_NUM_SHOWN = 5
_FOLDER_LINE = re.compile(r'^(folder = )".*?"', flags=re.MULTILINE)
_EMBEDDED = re.compile(r"data:(?:image|video)/", flags=re.IGNORECASE)
_QUOTED_PLACE = re.compile(r"`((?:[/~]|[A-Za-z]:[\\/])[^`\n]*)`")


def rewrite_card(text: str, repo_id: str, license: str | None = None) -> str:
    """The card as it goes up: examples name the repository, places of this machine lose their folders.

    Args:
        text: The card.
        repo_id: "ORG/NAME".
        license: Licence of a data set whose rows carry none, in place of the one that the card states.
    """
    text = _FOLDER_LINE.sub(rf'\g<1>"{repo_id}"', text)
    text = _QUOTED_PLACE.sub(lambda match: f"`{last_name(match[1])}`", text)
    if license is None:
        return text
    card = DatasetCard(text, ignore_metadata_errors=False)
    card.data.license = license
    return str(card)


def check_examples(selection: Selection) -> None:
    """Raises DataError where the card itself carries a picture, which no file can be left out for."""
    card = next((file for file in selection.files if file.path == CARD), None)
    if card is None:
        return
    for number, line in enumerate(card.content.decode("utf-8").splitlines(), 1):
        if _EMBEDDED.search(line):
            raise DataError(
                f"{CARD} line {number} carries a picture inside; take it out, or say with `--allow_examples` that "
                "what it shows may be seen by everybody."
            )


def check_model(folder: Path, selection: Selection) -> None:
    """A PhenoLIP folder that `trust_remote_code` can load, with all of its weights and a valid card.

    Raises:
        DataError: Something is missing, left over or damaged.
    """
    there = {file.path for file in selection.files}
    config = _json(folder, "config.json")
    kind = CLASSES.get(next(iter(config.get("architectures") or [""])))
    if kind is None:
        raise DataError(f"{folder} must be a PhenoLIP folder; `architectures` in its config.json names none of ours.")
    if not any(name.endswith(".safetensors") for name in there):
        raise DataError(
            f"{folder} has no weights as safetensors; save it with `save_pretrained`, pickles do not go up."
        )
    if absent := sorted(set(_code_files(folder, config)) - there):
        raise DataError(f"{folder} lacks {', '.join(absent)}, without which it loads nowhere else; save it anew.")
    needed = ["tokenizer_config.json"] if kind is PhenoLIPTextModel else []
    needed = ["processor_config.json", "tokenizer_config.json"] if kind is PhenoLIPModel else needed
    if absent := [name for name in needed if name not in there]:
        raise DataError(f"{folder} lacks {', '.join(absent)}; save its processor into it.")
    _check_weights(kind, folder)
    _check_card(ModelCard, selection)


def check_dataset(folder: Path, selection: Selection) -> dict[str, Any]:
    """A folder of Parquet tables with a valid card, of which every row may be shared.

    Returns:
        `num_rows` and, for rows that carry a licence, `licenses`: name -> number of rows.

    Raises:
        DataError: A table is damaged or in no configuration, a licence is missing, or one forbids to share a row.
    """
    card = _check_card(DatasetCard, selection)
    tables = [file for file in selection.files if file.path.endswith(".parquet")]
    _check_configs(folder, card, [file.path for file in tables])
    num_rows, licenses, has_unlicensed = 0, Counter(), False
    forbidden: list[str] = []
    for table in tables:
        try:
            file = pq.ParquetFile(folder / table.path)
            num_rows += file.metadata.num_rows
            names = file.schema_arrow.names
            if "image" not in names:
                continue
            has_unlicensed |= not set(LICENCE_COLUMNS) <= set(names)
            _check_images(file, table.path)
            for row in _licence_rows(file, names):
                licenses[row["license"] or row["license_category"] or "not stated"] += 1
                if not _may_be_shared(row):
                    stated = row["license"] or row["license_category"] or "no licence"
                    forbidden.append(f"{row['row_id']} ({stated})")
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{table.path} is no whole Parquet file; prepare the data set anew.") from error
    if forbidden:
        raise DataError(
            f"{len(forbidden)} of {num_rows} rows may not be shared under their licence: {_some(forbidden)}; build "
            f"without them (categories that may be shared: {', '.join(SHAREABLE)})."
        )
    if has_unlicensed and card.data.license in (None, NOT_STATED) and not card.data.to_dict().get("license_name"):
        raise DataError(f"The rows of {folder} carry no licence; say which one allows to share them with `--license`.")
    return {"num_rows": num_rows, "licenses": dict(licenses.most_common())}


def _check_weights(kind: type, folder: Path) -> None:
    try:
        _, info = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except Exception as error:  # whatever a damaged file makes of the loader, the folder does not load
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{folder} does not load as {kind.__name__}: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[what]:
            names = sorted(str(key) for key in info[what])
            raise DataError(f"{folder} does not load whole: {what.replace('_', ' ')} {_some(names)}.")


def _code_files(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """The modules that the maps of a folder name, and all that these import from beside them."""
    maps = [config.get("auto_map") or {}]
    if not maps[0]:
        raise DataError(f"config.json of {folder} has no `auto_map`: `trust_remote_code` would find no code.")
    for name in ("processor_config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            maps.append(_json(folder, name).get("auto_map") or {})
    values = [value for one in maps for value in one.values()]
    places = [place for value in values for place in (value if isinstance(value, list) else [value]) if place]
    waiting = [f"{place.split('--')[-1].split('.')[0]}.py" for place in places]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        if (folder / name).exists():
            waiting += [f"{module}.py" for module in _siblings(folder / name)]


def _siblings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path.name} is no Python that can be read; save the model anew.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [alias.name for alias in node.names]


def _check_card(kind: type, selection: Selection) -> Any:
    file = next((file for file in selection.files if file.path == CARD), None)
    if file is None:
        raise DataError(
            f"There is no {CARD}; `phenolip card` writes that of a model, `phenolip prepare` that of a set."
        )
    text = file.content.decode("utf-8")
    try:
        card = kind(text, ignore_metadata_errors=False)
    except Exception as error:  # the parser's own errors are of many types
        raise DataError(f"{CARD} has no valid front matter: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(card.data.license, str):
        raise DataError(f"{CARD} must state a `license` in its front matter, got {card.data.license!r}.")
    if "{{" in text:
        raise DataError(f"{CARD} is a template that is not filled; run `phenolip card` on the folder.")
    return card


def _check_configs(folder: Path, card: Any, tables: list[str]) -> None:
    if not tables:
        raise DataError(f"{folder} holds no Parquet table; write one with `phenolip prepare ... --output`.")
    configs = card.data.to_dict().get("configs") or []
    patterns = [file["path"] for config in configs for file in config.get("data_files", [])]
    shown = {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern)}
    if astray := sorted(set(tables) - shown):
        raise DataError(f"No configuration of {CARD} names {_some(astray)}; `load_dataset` would not find it.")
    if empty := sorted(pattern for pattern in patterns if not any(folder.glob(pattern))):
        raise DataError(f"{CARD} names {_some(empty)}, of which there is no file.")


def _check_images(file: pq.ParquetFile, name: str) -> None:
    for batch in file.iter_batches(batch_size=256, columns=["image.bytes"]):
        if batch.column(0).field("bytes").null_count:
            raise DataError(f"{name} has rows whose image is a path, not bytes; prepare the data set anew.")


def _licence_rows(file: pq.ParquetFile, names: list[str]) -> Iterator[dict[str, str]]:
    if not set(LICENCE_COLUMNS) <= set(names):
        return
    for batch in file.iter_batches(columns=list(LICENCE_COLUMNS)):
        yield from batch.to_pylist()


def _may_be_shared(row: Mapping[str, Any]) -> bool:
    """By its category; without derivatives only if image and caption are as they were published."""
    if row["license_category"] == UNCHANGED_ONLY:
        return row["sha256"] == row["figure_sha256"] and row["caption"] == row["caption_raw"]
    return row["license_category"] in SHAREABLE


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} has no {name} that can be read; it must be a folder of `save_pretrained`."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{folder / name} must hold an object, got {type(value).__name__}.")
    return value


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more
