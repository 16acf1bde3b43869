"""Explanations that come from files: the list of visual ones that the package carries, and a user's own."""

import json
import os
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from phenolip.exceptions import DataError

_MOST_BYTES = 32 * 2**20
_MOST_CHARACTERS = 4000  # of one text; the longest definition of HPO 2025-01-16 has 2,300
_FIELDS = frozenset({"name", "text", "sign", "modality"})


@dataclass(frozen=True, slots=True)
class VisualExplanation:
    """What a finding looks like, in our words.

    Attributes:
        key: Id of the term; the name where the ontology has none.
        name: Name of the term.
        text: Shape, colour, texture and place, as a phrase that follows "is".
        sign: The visual sign that the text describes.
        modality: How it is seen: "chest x-ray", "brain MRI", "fundus photograph".
    """

    key: str
    name: str
    text: str
    sign: str
    modality: str


@cache
def visual_explanations() -> tuple[VisualExplanation, ...]:
    """The list that the package carries, `ontology/visual_explanations.yaml`."""
    source = files("phenolip.ontology").joinpath("visual_explanations.yaml")
    rows = _parse_yaml(source.read_text(encoding="utf-8"), source.name)
    return tuple(VisualExplanation(key, **_fields(row, f"{source.name}: {key}")) for key, row in rows.items())


def read_overlay(path: str | os.PathLike) -> dict[str, str]:
    """A user's explanations, id or name -> text, in the order of the file.

    Args:
        path: JSON or YAML (by the ending; .json, .yaml, .yml) that holds one mapping from ids or names to texts, such
            as MedFILIP's dictionary; a value may also be a mapping with `text`, as in the package's own list.

    Raises:
        DataError: The file cannot be read, is no such mapping, names a key twice, or a text is empty, too long or
            holds control characters.
    """
    path = Path(path)
    parse = {".json": _parse_json, ".yaml": _parse_yaml, ".yml": _parse_yaml}.get(path.suffix.lower())
    if parse is None:
        raise DataError(f"Overlay {path.name} must end in .json, .yaml or .yml, got {path.suffix or 'no ending'!r}.")
    rows = parse(_read(path), path.name)
    if not rows:
        raise DataError(f"Overlay {path.name} must map at least one id or name to a text, got none.")
    return {key: _text(value, f"{path.name}: {key[:60]!r}") for key, value in rows.items()}


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= _MOST_BYTES else ""
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a null byte in the path
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise DataError(f"Overlay {path} must be a readable UTF-8 file: {reason}.") from None
    if size > _MOST_BYTES:
        raise DataError(f"Overlay {path.name} must hold at most {_MOST_BYTES:,} bytes, got {size:,}.")
    return text


def _parse_json(text: str, name: str) -> dict[str, Any]:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _distinct(pairs, name)

    try:
        rows = json.loads(text, object_pairs_hook=distinct)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"Overlay {name} must be JSON: {error}.") from None
    return _mapping(rows, name)


def _parse_yaml(text: str, name: str) -> dict[str, Any]:
    try:
        rows = yaml.load(text, Loader=_StringLoader)  # noqa: S506 it makes strings, lists and mappings, no objects
    except (yaml.YAMLError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: {getattr(error, 'problem', '')}" if place else "it is nested too deeply"
        raise DataError(f"{name} must be plain YAML: {where}.") from None
    return _mapping(rows, name)


class _StringLoader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
    """Plain strings only ("no" and 0001 stay what they are), and each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        pairs = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            pairs.append((key.value, self.construct_object(value, deep=True)))
        try:
            return _distinct(pairs, "")
        except DataError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error).rstrip("."), node.start_mark) from None


def _construct_mapping(loader: _StringLoader, node: yaml.Node) -> dict[str, Any]:
    return loader.construct_mapping(node)


_StringLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _distinct(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for key, value in pairs:
        if key in rows:
            raise DataError(f"{name}{': ' if name else ''}the key {key[:60]!r} stands twice; keep one of them.")
        rows[key] = value
    return rows


def _mapping(rows: Any, name: str) -> dict[str, Any]:
    if rows is None or rows == "":
        return {}
    if not isinstance(rows, dict):
        raise DataError(f"{name} must be one mapping from ids or names to texts, got a {type(rows).__name__}.")
    if blank := [key for key in rows if not key.strip()]:
        raise DataError(f"{name}: a key must be an id or a name, got {blank[0]!r}.")
    return rows


def _fields(row: Any, where: str) -> dict[str, str]:
    if not isinstance(row, dict) or set(row) != _FIELDS:
        raise DataError(f"{where} must have the fields {', '.join(sorted(_FIELDS))}.")
    return {field: _text(value, f"{where}: `{field}`") for field, value in row.items()}


def _text(value: Any, where: str) -> str:
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str):
        raise DataError(f"{where} must be a text, got a {type(value).__name__}.")
    text = " ".join(value.split())
    if not 1 <= len(text) <= _MOST_CHARACTERS:
        raise DataError(f"{where} must have 1 to {_MOST_CHARACTERS:,} characters, got {len(text):,}.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co") for character in text):
        raise DataError(f"{where} must not hold control characters.")
    return text
