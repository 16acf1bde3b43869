"""Which files of a folder go to the Hub, and what each of the others is left out for."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml
from PIL import Image

from phenolip.exceptions import DataError
from phenolip.plain_yaml import parse_yaml

TRAINING_INDEX = "training_index.parquet"
CARD = "README.md"
MODEL_FILES = (
    *("config.json", "model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "*.py"),
    *("processor_config.json", "preprocessor_config.json", "chat_template.jinja", "tokenizer.json", "tokenizer.model"),
    *(
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
    ),
    *("run.yaml", "run.json", "phenotypes.json", "knowledge.json", "thresholds.json", "conversion.json"),
    *(CARD, "LICENSE*", "card/[0-9]*_*.png"),  # the last only where `is_plot`
)
DATASET_FILES = (CARD, "LICENSE*", "manifest.json", "*/*.parquet", "kgx/*.tsv")
#: Pages and pictures that may show images and texts of the data; they go up only where a user allows it.
EXAMPLES = ("*.html", "*/*.html", "card/*.png", "card/*.jpg", "card/*.jpeg", "card/*.svg", "card/*.webp")
PLOT_SOFTWARE = "phenolip card"  # what a plot says drew it, as PNG's keyword Software
_EXAMPLES_REASON = "may show images and texts of the data; `--allow_examples` sends it"
RECORDS = ("run.yaml", "run.json", "conversion.json", "manifest.json")  # hold places of the machine that wrote them
LEFT_OUT = (  # the first that fits says why
    ("*/.git/*", "version control"),
    ("*/.*", "hidden: caches, settings and secrets lie there"),
    ("*.partial", "not finished"),
    ("*/checkpoints/*", "state to resume training from"),
    ("*/checkpoint-*/*", "state to resume training from"),
    ("*/features/*", "a cache"),
    ("*/__pycache__/*", "a cache"),
    (f"*/{TRAINING_INDEX}", "names and hashes of the training rows; `--include_training_index` sends it"),
    *((f"*.{ending}", "a pickle can run code") for ending in ("bin", "pt", "pth", "ckpt", "pkl", "pickle", "joblib")),
    *((f"*.{ending}", "a secret") for ending in ("pem", "key", "p12", "env")),
    *((f"*.{ending}", "not part of a model or data set") for ending in ("jsonl", "log", "csv")),
)
SECRETS = re.compile(
    rb"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36}|sk-[A-Za-z0-9_-]{32,}|AKIA[0-9A-Z]{16})"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_PLACE = re.compile(r"(?:[/~]|[A-Za-z]:[\\/]).*[^/\\]")
_TEXTS = (".md", ".json", ".yaml", ".py", ".txt", ".tsv", ".jinja")


@dataclass(frozen=True, slots=True)
class PushFile:
    """A file that goes up: its path in the repository, and where its content is."""

    path: str
    content: Path | bytes
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Files that go up, by path, and those that do not, path -> reason."""

    files: list[PushFile]
    left_out: dict[str, str]


def select_files(
    folder: Path, patterns: Iterable[str], rewrite: Callable[[str], str], *, more: Sequence[str] = ()
) -> Selection:
    """Sorts the files of a folder; nothing goes up that no pattern names.

    Links are left out: what they point to may lie anywhere. In run records and in the card, places of this machine
    are cut down to their last name.

    Args:
        folder: Model or data set.
        patterns: Paths that may go, with `*` for a part of a name.
        rewrite: Text of the card -> the text that goes up.
        more: Patterns that go although a reason stands against them.

    Raises:
        DataError: A file that would go holds a token or private key, or is no UTF-8 text where it should be.
    """
    files, left_out = [], {}
    for path in sorted(found for found in folder.rglob("*") if found.is_file() or found.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if reason := _reason(name, path, patterns, more):
            left_out[name] = reason
        else:
            files.append(_read(name, path, rewrite))
    return Selection(files, left_out)


def is_plot(path: Path) -> bool:
    """Whether a file is a PNG that `phenolip card` drew: numbers alone, whatever a picture of a patient is called."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == PLOT_SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def without_places(value: Any) -> Any:
    """A record in which every text that is a place on a machine is its last name alone.

    Example:
        >>> without_places({"data": "/home/someone/ward 7", "batch_size": 8, "extra": ["org/set"]})
        {'data': 'ward 7', 'batch_size': 8, 'extra': ['org/set']}
    """
    if isinstance(value, dict):
        return {name: without_places(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner) for inner in value]
    return last_name(value) if isinstance(value, str) and _PLACE.fullmatch(value) else value


def last_name(place: str) -> str:
    """The last part of a path, of this system or another.

    Example:
        >>> last_name("C:\\\\data\\\\ward"), last_name("/mnt/ward/"), last_name("org/set")
        ('ward', 'ward', 'set')
    """
    return PurePath(place.replace("\\", "/")).name


def _reason(name: str, path: Path, patterns: Iterable[str], more: Sequence[str]) -> str | None:
    if path.is_symlink():
        return "a link"
    if not any(_fits(name, pattern) for pattern in more):
        for pattern, reason in LEFT_OUT:
            if fnmatch.fnmatchcase(f"/{name}", pattern):
                return reason
    is_example = any(_fits(name, pattern) for pattern in EXAMPLES)
    if any(_fits(name, pattern) for pattern in more):
        return None
    if any(_fits(name, pattern) for pattern in patterns) and (not is_example or is_plot(path)):
        return None
    if is_example:
        return _EXAMPLES_REASON
    return "not part of a model or data set"


def _fits(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def _read(name: str, path: Path, rewrite: Callable[[str], str]) -> PushFile:
    if not name.endswith(_TEXTS):
        return PushFile(name, path, path.stat().st_size)
    content = path.read_bytes()
    if found := SECRETS.search(content):
        line = content.count(b"\n", 0, found.start()) + 1
        raise DataError(
            f"{name} line {line} looks like a token or private key; take it out, and revoke it if it is one."
        )
    try:
        if name == CARD:
            content = rewrite(content.decode("utf-8")).encode()
        elif name in RECORDS:
            content = _record(name, content.decode("utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{name} cannot be read ({type(error).__name__}); write it anew or delete it.") from error
    return PushFile(name, content if name in (CARD, *RECORDS) else path, len(content))


def _record(name: str, text: str) -> bytes:
    if name.endswith(".yaml"):
        return yaml.safe_dump(without_places(parse_yaml(text)), sort_keys=False, allow_unicode=True).encode()
    return (json.dumps(without_places(json.loads(text)), indent=2, ensure_ascii=False) + "\n").encode()
