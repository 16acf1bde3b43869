"""Labels of subfigures as text: how one looks, how several are listed, and what they stand for in a row.

Example:
    >>> read_labels("a, c-e", "lower"), label_place("c", "lower")
    (('a', 'c', 'd', 'e'), (2, 0))
"""

import re
from functools import lru_cache
from typing import Literal

#: What labels are read as: "A", "a", "iv", "IV", "4", "top left".
Kind = Literal["upper", "lower", "roman", "upper roman", "number", "position"]
KINDS: tuple[Kind, ...] = ("upper", "lower", "roman", "upper roman", "number")

_MAX_RANGE = 26  # labels that one range may stand for
_MAX_DISTANCE = 8  # letters from one to the next that a list names
#: Patterns of one label, of what stands between two, and of a list; bounded, like all that use them.
LABEL = (
    r"(?!H\s?(?:&|and|\+|/)\s?E(?!\w))"  # the stain
    r"(?:[A-Za-z](?:[0-9]{1,2}|[ivx]{1,4}|['’′]{1,2})?|[ivx]{2,5}|[IVX]{2,5}|[0-9]{1,2}[A-Za-z]?)(?!\w)"
)
JOIN = r"\s{0,2}(?:,\s?(?:and|or|to)\b|[,;&+/~\-–—‐‑−]|and\b|or\b|to\b|through\b)\s{0,2}"
LIST = rf"{LABEL}(?:{JOIN}{LABEL}){{0,30}}"
_TOKEN = re.compile(rf"(?<!\w){LABEL}")
_RANGE = re.compile(r"[~\-–—‐‑−]|\bto\b|through")

_READ_AS: dict[Kind, re.Pattern[str]] = {
    "upper": re.compile(r"([A-Z])([0-9]{1,2}|[ivx]{1,4}|['’′]{1,2})?"),
    "lower": re.compile(r"([a-z])([0-9]{1,2}|['’′]{1,2})?"),
    "roman": re.compile(r"([ivx]{1,5})()"),
    "upper roman": re.compile(r"([IVX]{1,5})()"),
    "number": re.compile(r"([0-9]{1,2})([A-Za-z])?"),
}
ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi")


def sensible_length(text: str, is_rising: bool) -> int:
    """Length of the part of a list that can be one: "A" of "A, T1" and, if it must rise, "B" of "B, A (tumour)".

    Example:
        >>> sensible_length("A, T1", False), sensible_length("A, C", True), sensible_length("B - A", True)
        (1, 4, 1)
    """
    last: re.Match[str] | None = None
    for match in _TOKEN.finditer(text):
        if last and last[0][0].isalpha() and match[0][0].isalpha() and len(last[0]) == 1:
            distance = ord(match[0][0].lower()) - ord(last[0].lower())
            if distance > _MAX_DISTANCE and "," in text[last.end() : match.start()]:
                return last.end()
            if is_rising and distance <= 0 and len(match[0]) == 1:
                return last.end()
        last = match
    return len(text)


@lru_cache(maxsize=4096)
def read_labels(text: str, kind: Kind) -> tuple[str, ...]:
    """The labels of a marker's text, ranges written out; empty if they are not of the kind.

    Example:
        >>> read_labels("a, c-e", "lower"), read_labels("i-iii", "roman"), read_labels("A1-3", "upper")
        (('a', 'c', 'd', 'e'), ('i', 'ii', 'iii'), ('A1', 'A2', 'A3'))
        >>> read_labels("c-a", "lower"), read_labels("a, B", "upper")
        ((), ())
    """
    labels: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        join = text[end : match.start()]
        if labels and _RANGE.search(join):
            between = _range(labels[-1], match[0], kind)
            if not between:
                return ()
            labels += between
        elif label_place(match[0], kind) is None:
            return ()
        else:
            labels.append(match[0])
        end = match.end()
    return tuple(dict.fromkeys(labels))


@lru_cache(maxsize=4096)
def label_place(label: str, kind: Kind) -> tuple[int, int] | None:
    """Where a label stands in its row, from 0, and among those nested in it, from 1; 0 for one that is not nested."""
    match = _READ_AS[kind].fullmatch(label)
    if not match:
        return None
    if kind == "number":
        place = int(match[1]) - 1
    elif kind in ("roman", "upper roman"):
        place = ROMAN.index(match[1].lower()) if match[1].lower() in ROMAN else -1
    else:
        place = ord(match[1].lower()) - ord("a")
    nested = _nested_place(match[2])
    return None if place < 0 or nested < 0 else (place, nested)


def _nested_place(text: str | None) -> int:
    """From 1; 0 without a nested label, -1 for letters that are no number."""
    if not text:
        return 0
    if text.isdecimal():
        return int(text)
    if text in ROMAN:
        return ROMAN.index(text) + 1
    if text.isalpha():
        return ord(text.lower()) - ord("a") + 1 if len(text) == 1 else -1
    return len(text)  # of primes


def _range(first: str, last: str, kind: Kind) -> list[str]:
    """What follows `first` in a range that ends with `last`, itself included; empty if it is none."""
    start, end = label_place(first, kind), label_place(last, kind)
    if start and last.isdecimal() and first[:1].isalpha() and 0 < start[1] < int(last):  # "A1-3"
        return [f"{first[0]}{number}" for number in range(start[1] + 1, int(last) + 1)]
    if not start or not end:
        return []
    if start[0] == end[0] and last[1:].isdecimal() and 0 < start[1] < end[1]:  # "A1-A3"
        return [f"{first[0]}{number}" for number in range(start[1] + 1, end[1] + 1)]
    if start[1] or end[1] or not 0 < end[0] - start[0] < _MAX_RANGE:
        return []
    return [_nth(place, kind) for place in range(start[0] + 1, end[0] + 1)]


def _nth(place: int, kind: Kind) -> str:
    if kind == "number":
        return str(place + 1)
    text = ROMAN[place] if "roman" in kind else chr(ord("a") + place)
    return text.upper() if "upper" in kind else text
