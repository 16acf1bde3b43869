"""The parts of a caption that a model names, looked up in the caption: what it says of offsets is a hint only."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

import msgspec

from phenolip.phenokg.backends.chat import Failure

_MAX_LABEL = 40  # characters, "second row, third column" has 24
_MAX_PARTS = 200
_WORD = re.compile(r"[^\W_]+")
_CLOSING = re.compile(r"[^\s\w(\[]*")
_JOINERS = frozenset("and or to through panel panels".split())


class NamedPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a model says that a caption says of an image.

    Attributes:
        label: Of the image.
        text: The part, as the caption has it.
        start: First character of the part.
    """

    label: str
    text: str
    start: int


class NamedParts(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A model's answer."""

    subcaptions: list[NamedPart]


def find_parts(caption: str, answer: NamedParts) -> list[tuple[str, int, int]] | Failure:
    """Label, start and end of every part of an answer, as the caption has it, a label in front included; a failure if
    the caption lacks one.

    A model cannot count: of the places where the caption has a part's words the nearest to its `start` is taken.

    Example:
        >>> parts = [NamedPart("(A)", "Liver.", 2), NamedPart("B", "lung", 0)]
        >>> find_parts("CT. (A) Liver. (B) Lung.", NamedParts(parts))
        [('A', 4, 14), ('B', 15, 24)]
    """
    if len(answer.subcaptions) > _MAX_PARTS:
        return Failure("wrong_span", f"more than {_MAX_PARTS} parts")
    found = []
    for number, part in enumerate(answer.subcaptions, 1):
        label = part.label.strip(" ()[].,:;")
        span = _locate(caption, part.text, part.start)
        if not label or len(label) > _MAX_LABEL:
            return Failure("wrong_span", f"the label of part {number} is empty or too long")
        if span is None:
            return Failure("wrong_span", f"the text of part {number} is not in the caption letter for letter")
        found.append((label, *span))
    spans = sorted({(start, end) for _, start, end in found})
    if any(following[0] < span[1] for span, following in pairwise(spans)):
        return Failure("wrong_span", "parts overlap")
    num_labels = Counter((start, end) for _, start, end in found)
    return [
        (label, _marked_start(caption, label, start) if num_labels[start, end] == 1 else start, _stop(caption, end))
        for label, start, end in found
    ]


def background_of(caption: str, parts: Sequence[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """Start and end of what lies between the parts, without the labels beside them: what holds for all images."""
    labels = {word.casefold() for label, _, _ in parts for word in _WORD.findall(label)}
    spans = sorted({(start, end) for _, start, end in parts})
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(caption)]
    gaps = []
    for number, (first, last) in enumerate(zip(ends, starts, strict=True)):
        words = list(_WORD.finditer(caption, first, last))
        if number < len(spans):  # a label stands before the part that follows, "(A-C) ...", or after, "... (A)."
            words = words[: len(words) - _num_marking(reversed(words), labels)]
        if number:
            words = words[_num_marking(_bracketed(caption, words), labels) :]
        if any(match.group().casefold() not in _JOINERS for match in words):
            gaps.append((words[0].start(), min(last, _stop(caption, words[-1].end()))))
    return gaps


def _locate(caption: str, text: str, start: int) -> tuple[int, int] | None:
    """Where the caption has a text, nearest to `start`: to the letter, else the same words in a row."""
    text = text.strip()
    if not _WORD.search(text):
        return None
    edges = [r"(?<!\w)" if text[0].isalnum() else "", r"(?!\w)" if text[-1].isalnum() else ""]  # no part of a word
    places = [match.start() for match in re.finditer(edges[0] + re.escape(text) + edges[1], caption)]
    if places:
        place = min(places, key=lambda place: abs(place - start))
        return place, place + len(text)
    words = list(_WORD.finditer(caption))
    folded = [match.group().casefold() for match in words]
    wanted = [word.casefold() for word in _WORD.findall(text)]
    # Searched as one string: word by word, a caption of one word repeated would take the square of its length.
    row_at = dict(zip(accumulate((len(word) + 1 for word in folded), initial=0), range(len(folded)), strict=False))
    found = _places(f" {' '.join(folded)} ", f" {' '.join(wanted)} ")
    row = min((row_at[place] for place in found), key=lambda row: abs(words[row].start() - start), default=None)
    return None if row is None else (words[row].start(), words[row + len(wanted) - 1].end())


def _places(text: str, part: str) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)


def _marked_start(caption: str, label: str, start: int) -> int:
    """Where a part with its label in front of it begins: a first word "A" of its own is then no label."""
    words = list(_WORD.finditer(caption, max(0, start - _MAX_LABEL), start))
    if not words or words[-1].group().casefold() != label.casefold():
        return start
    first = words[-1].start()
    return first - 1 if first and caption[first - 1] in "([" else first


def _stop(caption: str, end: int) -> int:
    """Where a part ends with the marks that close it."""
    return _CLOSING.match(caption, end).end()


def _num_marking(words: Iterable[re.Match[str]], labels: set[str]) -> int:
    """How many words from the first on are labels, or join labels."""
    num_marking = 0
    for number, match in enumerate(words, 1):
        word = match.group().casefold()
        if word in labels:
            num_marking = number
        elif word not in _JOINERS:
            break
    return num_marking


def _bracketed(caption: str, words: Sequence[re.Match[str]]) -> Iterator[re.Match[str]]:
    """The words up to a closing bracket, if the first stands behind an opening one."""
    if words and caption[max(0, words[0].start() - 1)] in "([":
        for word in words:
            yield word
            if caption[word.end() : word.end() + 1] in (")", "]"):
                return
