"""Abbreviations that a text explains: "atrial septal defect (ASD)".

The rule is that of Schwartz and Hearst, 2003: each letter of the short form occurs in the long form, in order, and its
first letter begins a word.
"""

import re
from typing import NamedTuple

_IN_BRACKETS = re.compile(r"\(\s*([A-Za-z][A-Za-z0-9-]{1,9})\s*[);,]")
_MIN_CAPITALS = 2


class Abbreviation(NamedTuple):
    """A short form and the span of the long form before it, in characters of the text."""

    short: str
    start: int
    end: int


def find_abbreviations(text: str) -> list[Abbreviation]:
    """Each short form that a text explains at its first use.

    Example:
        >>> text = "He had an atrial septal defect (ASD) and ..."
        >>> [(found.short, text[found.start : found.end]) for found in find_abbreviations(text)]
        [('ASD', 'atrial septal defect')]
    """
    found = []
    for match in _IN_BRACKETS.finditer(text):
        short = match[1]
        if sum(letter.isupper() for letter in short) < min(_MIN_CAPITALS, len(short)):
            continue
        end = len(text[: match.start()].rstrip())
        first = max(0, end - _longest(short))
        start = _long_form_start(text[first:end], short)
        if start is not None:
            found.append(Abbreviation(short, first + start, end))
    return found


def _longest(short: str) -> int:
    """Characters before the bracket that a long form may have: some twelve a letter."""
    return 14 * len(short) + 10


def _long_form_start(before: str, short: str) -> int | None:
    place = len(before)
    letters = [letter for letter in short.lower() if letter.isalnum()]
    lowered = before.lower()
    for number in range(len(letters) - 1, -1, -1):
        place -= 1
        while place >= 0 and (
            lowered[place] != letters[number] or (number == 0 and place > 0 and lowered[place - 1].isalnum())
        ):
            place -= 1
        if place < 0:
            return None
    words = before[place:].split()
    if len(words) > min(len(letters) + 5, 2 * len(letters)) or len(before[place:]) <= len(short):
        return None
    return place
