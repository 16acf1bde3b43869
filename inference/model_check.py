"""What a model folder from a stranger must be before anything of it is loaded."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from phenolip.exceptions import ConfigurationError
from phenolip.floors import require_floor
from phenolip.inference.adapters.files import TRANSFORMERS_WEIGHTS, find_file, first_line, read_json, weight_files

MAX_HEADER_BYTES = 32 << 20  # a model of a thousand tensors has 0.1 MiB
MAX_CONFIG_BYTES = 16 << 20
MAX_SIZE = 1 << 20  # of a number in a config that decides how much memory is taken: widths, layers, vocabularies
_SIZE_ENDINGS = ("_size", "_layers", "_heads", "_dim", "_channels", "_embeddings")
_CONFIGS = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


def check_model(model: str | Path) -> None:
    """Refuses a model folder or Hub repository whose files are no plain configs and whole safetensors.

    Read are the configs and the headers of the weights, no tensor. Code that the folder carries, and `auto_map`, which
    names it, are not looked at: nothing here runs them, since the classes of this package and of transformers are used
    by name. That the tensors fit the config is found when they are loaded; that they give finite numbers, when they
    are used.

    Args:
        model: Folder or Hub id.

    Raises:
        ConfigurationError: A config is no JSON object, is too large or has absurd sizes; weights are pickled, missing,
            cut off, or named by a path out of the folder.
    """
    for name in _CONFIGS:
        file = find_file(model, name)
        if file is None:
            continue
        if (size := file.stat().st_size) > MAX_CONFIG_BYTES:
            raise ConfigurationError(
                f"`model` {model}: {name} must have at most {MAX_CONFIG_BYTES:,} bytes, got {size:,}."
            )
        _check_sizes(read_json(model, name), f"`model` {model}: {name}")
    for file in weight_files(model, TRANSFORMERS_WEIGHTS):
        check_weights(file)


def check_weights(file: Path) -> list[str]:
    """Names of the tensors of a safetensors file, by its header alone.

    Raises:
        ConfigurationError: The header is too long or damaged, or does not cover exactly the bytes that follow.
    """
    require_floor("torch")
    require_floor("transformers")
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    if length > min(MAX_HEADER_BYTES, file.stat().st_size):
        raise ConfigurationError(
            f"{file} must have a header of at most {MAX_HEADER_BYTES:,} bytes inside the file, got {length:,}."
        )
    try:
        with safe_open(file, "pt") as tensors:
            return list(tensors.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigurationError(f"{file} is truncated or damaged: {first_line(error)}.") from error


def _check_sizes(config: Any, where: str) -> None:
    """A width of 10^9 would take all memory before the weights show that it is false."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        for key, inner in value.items() if isinstance(value, dict) else ():
            is_size = str(key).endswith(_SIZE_ENDINGS) and isinstance(inner, int)
            if is_size and not -1 <= inner <= MAX_SIZE:
                raise ConfigurationError(f"{where}: `{key}` must be at most {MAX_SIZE:,}, got {inner:.4g}.")
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
