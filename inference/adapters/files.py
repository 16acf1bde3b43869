"""Files of a model folder or Hub repository: configs, and weights as safetensors alone, with their hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from phenolip.exceptions import ConfigurationError

TRANSFORMERS_WEIGHTS = "model.safetensors"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
_PICKLES = ("pytorch_model.bin", "open_clip_pytorch_model.bin", "pytorch_model.bin.index.json")


def find_file(model: str | Path, name: str) -> Path | None:
    """A file of a folder or Hub repository, fetched into the cache where needed; None where there is none."""
    folder = Path(model)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    if folder.exists():
        raise ConfigurationError(f"`model` must be a folder or a Hub id, got the file {model}.")
    try:
        found = cached_file(
            str(model),
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError) as error:  # no such repository, no access, no valid id
        raise ConfigurationError(
            f"`model` must be a folder or a Hub id that can be read, got {str(model)!r}: {first_line(error)}."
        ) from error
    return None if found is None else Path(found)


def read_json(model: str | Path, name: str) -> dict[str, Any] | None:
    """A JSON object of a model; None where it has no such file.

    Raises:
        ConfigurationError: The file holds no JSON object.
    """
    path = find_file(model, name)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigurationError(f"`model` {model}: {name} is not JSON: {first_line(error)}.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"`model` {model}: {name} must hold an object, got a {type(content).__name__}.")
    return content


def weight_files(model: str | Path, name: str = TRANSFORMERS_WEIGHTS, *, sharded: bool = True) -> list[Path]:
    """The safetensors files of a model: one or, if `sharded`, the shards that its index names.

    Raises:
        ConfigurationError: There is none, for example since the weights are pickled.
    """
    path = find_file(model, name)
    if path is not None:
        return [path]
    index = read_json(model, f"{name}.index.json") if sharded else None
    if index is not None:
        weight_map = index.get("weight_map")
        shards = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
        if not shards or any(Path(shard).name != shard for shard in shards):  # a path would lead out of the folder
            raise ConfigurationError(f"`model` {model}: {name}.index.json must name files beside it.")
        found = [(shard, find_file(model, shard)) for shard in shards]
        missing = [shard for shard, file in found if file is None]
        if missing:
            raise ConfigurationError(f"`model` {model} lacks {missing[0]}, which {name}.index.json names.")
        return [file for _, file in found]
    pickled = next((pickle for pickle in _PICKLES if find_file(model, pickle) is not None), None)
    if pickled:
        raise ConfigurationError(
            f"`model` {model} must hold its weights as {name}, got {pickled}, which could run code when it is read; "
            "docs/models.md shows how to convert it."
        )
    raise ConfigurationError(f"`model` {model} must hold its weights as {name}; there is none.")


def file_hashes(files: list[Path]) -> dict[str, str]:
    """Name -> sha256 of each file, as `sha256sum` prints it."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def first_line(error: Exception) -> str:
    """The first line of an error's message without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
