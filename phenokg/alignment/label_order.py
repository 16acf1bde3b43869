"""Labels in the order in which they follow each other, whatever the order in which a caption names them."""

import re
from collections.abc import Sequence

_LETTER = re.compile(r"([A-Za-z])([0-9]{1,2}|['’′]{1,2}|[ivx]{1,4})?")
_NUMBER = re.compile(r"([0-9]{1,2})([A-Za-z]?)")
_ROMAN = re.compile(r"(?=[ivx])(x{0,2})(ix|iv|v?i{0,3})", re.I)
_UNITS = {"": 0, "i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9}


def in_label_order(labels: Sequence[str]) -> list[int]:
    """Places of the labels: alphabetical, by number, or by Roman number; as they are if they are no series.

    Example:
        >>> in_label_order(["C", "A2", "A10", "A1"]), in_label_order(["ix", "v", "i"]), in_label_order(["top", "left"])
        ([3, 1, 2, 0], [2, 1, 0], [0, 1])
    """
    keys = _roman_keys(labels) or _keys(labels, _NUMBER) or _keys(labels, _LETTER)
    return sorted(range(len(labels)), key=keys.__getitem__) if keys else list(range(len(labels)))


def _roman_keys(labels: Sequence[str]) -> list[tuple]:
    """Values of labels that are all Roman numbers, one of them with several letters."""
    matches = [_ROMAN.fullmatch(label) for label in labels]
    if not all(matches) or max(map(len, labels), default=0) < 2:
        return []
    return [(10 * len(match[1]) + _UNITS[match[2].lower()],) for match in matches]


def _keys(labels: Sequence[str], pattern: re.Pattern[str]) -> list[tuple]:
    matches = [pattern.fullmatch(label) for label in labels]
    return [_part(match[1]) + _part(match[2] or "") for match in matches] if all(matches) else []


def _part(text: str) -> tuple:
    """Numbers by value, letters without their case first."""
    if text.isdigit():
        return int(text), "", ""
    roman = _ROMAN.fullmatch(text) if len(text) > 1 else None
    value = 10 * len(roman[1]) + _UNITS[roman[2].lower()] if roman else 0
    return value, text.casefold(), text
