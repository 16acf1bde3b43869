"""Places of a caption that may name subfigures: "(A)", "b)", "C.", "(d-f)", "Panel G"; all that read like it.

Only the form is looked at here, each place alone; whether it is a name is decided in `choose_markers.py` from all
places of the caption together. Every pattern is bounded, so that the time is linear in the length of the caption.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from phenolip.phenokg.captions.label_names import JOIN, KINDS, LIST, read_labels, sensible_length

#: How a marker is set off: "(A)" or "[A]", "A)", "Panel A", "A:", "A.", "A," or "A -", "A"; "(left)" or "Left:".
#: An "opened" bracket that is not closed, "(A Liver", only fills a gap between others.
Style = Literal["brackets", "bracket", "panel", "colon", "stop", "comma", "bare", "opened", "position"]

_NOUN = (
    r"(?i:(?:sub-?)?(?:panel|figure|fig\.?|image|picture|photo(?:(?:micro)?graph)?|plate|frame|part|scan|slide)s?)"
    r"\s{1,2}"
)
#: The number of the figure before the letter, as in "(1a)" and "Figure 1A:".
_NUMBER = r"[0-9]{1,2}\s?(?=[A-Za-z](?!\w))"
_NUMBERED = rf"(?:(?i:fig(?:ure|\.)?\s?))?{_NUMBER}"

_BRACKETS = re.compile(
    rf"[(\[]\s?(?:{_NOUN}|{_NUMBER})?({LIST})\s?(?:[.,:]?\s?([)\]])|[,;:]\s?|\s(?=(?i:arrow|inset|left|right|top|bottom)))"
)
_NOUN_BEFORE = re.compile(rf"(?:^|[.;:]\s{{0,2}})({_NOUN.removesuffix('{1,2}')}?)$")
_LAST_IN_BRACKETS = re.compile(rf"[,;]\s?(?:{_NOUN})?({LIST})\s?(?=\))")
_BEFORE_BRACKET = re.compile(rf"(?<![\w(\-])(?<![0-9]\.)({LIST})\s?$")
_AT_START = re.compile(
    rf"(?:^|(?<=[.;:?!)\]\n,(])|(?<=\sand\s))\s{{0,3}}(?:and\s)?(?P<whole>(?:{_NUMBERED}|(?P<noun>(?i:in\s)?{_NOUN}))?"
    rf"(?P<list>{LIST})(?:\s?(?P<colon>:)(?!:)|\s?(?P<stop>\.)(?=\s|[A-Z(]|$)|(?P<comma>,|\s?[-–—=]|/)\s|(?P<bare>\s)))"
)
#: Within a sentence: "of both eyes A: right eye, B: left eye", "of a microarray A.The tissue".
_IN_SENTENCE = re.compile(rf"(?<=[\w,]\s)({LIST})(?:\s?(:)(?=\s)|\.(?=[A-Z][a-z]))")
#: A bold letter whose space was lost: "of the patient.aFrontal view.b, cLateral views".
_GLUED = re.compile(r"(?<=[.)\]:;])\s?([a-z](?:\s?[-–,]\s?[a-z])*)(?=[A-Z][a-z])")
_TYPE_BEFORE = re.compile(
    r"(?:types?|groups?|class|grades?|stages?|vitamins?|hepatitis|cases?|patients?|cohorts?|cells?)\s$", re.I
)
_BRACKET = re.compile(r"[()]")
_NOT_BEFORE: dict[Style, str] = {"bare": ",)]", "stop": ",(", "comma": ","}
_NEXT_IN_BRACKETS = re.compile(rf"[;,]\s(?:and\s)?(?:{_NOUN})?([A-Za-z])\s?[,:]\s")
_AFTER_LABEL = re.compile(r"\s?[,;–—-]?\s?")
_MAX_NOUN = 16
_MAX_NOTE = 150  # characters
_CLOSING = re.compile(rf"[^()\[\]]{{0,{_MAX_NOTE}}}[)\]]")
_MAX_BRACKETED = 400  # characters; a bracket that stays open for longer was forgotten
_LOOK_BACK = 48  # characters before a closing bracket
_MAX_JOINED = 120  # characters of labels


@dataclass(frozen=True, slots=True)
class Marker:
    """A place that may name subfigures.

    Attributes:
        start: First character of the marker in the caption, its bracket included.
        end: One past its last.
        text: The labels as written, "a-c" of "(a-c)".
        style: How it is set off.
        note: Start and end of words on the subfigure in the marker's brackets, "arrow" of "(A, arrow)".
    """

    start: int
    end: int
    text: str
    style: Style
    note: tuple[int, int] | None = None


def find_markers(caption: str) -> list[Marker]:
    """All that reads like a label, by place; of markers that overlap the surer."""
    found = [*_in_brackets(caption), *_before_brackets(caption)]
    taken = {place for marker in found for place in range(marker.start, marker.end)}
    for marker in _at_starts(caption):
        place = range(marker.start, marker.end)
        if taken.isdisjoint(place):
            found.append(marker)
            taken.update(place)
    return _joined(caption, sorted(found, key=lambda marker: marker.start))


def markers_at_edges(caption: str, label: str, span: tuple[int, int]) -> list[tuple[int, int]]:
    """Spans of markers with a label, alone or among others, at the begin and at the end of a part of a caption.

    A bare letter is none, since "a" may be a word.
    """
    start, end = span
    found = []
    for low, high in ((start, min(end, start + _LOOK_BACK)), (max(start, end - _LOOK_BACK), end)):
        for marker in find_markers(caption[low:high]):
            at = low + marker.start, low + marker.end
            is_at_edge = not caption[start : at[0]].strip() or not caption[at[1] : end].strip(" .,;:\n")
            names = {name for kind in KINDS for name in read_labels(marker.text, kind)} | {marker.text}
            if (
                is_at_edge
                and marker.style != "bare"
                and label.strip("() .:").lower() in {name.lower() for name in names}
            ):
                found.append(at)
    return found


def is_in_brackets(caption: str, place: int) -> bool:
    """Whether a bracket that opens not far before a place is still open there."""
    low = max(0, place - _MAX_NOTE)
    return caption.rfind("(", low, place) > caption.rfind(")", low, place)


def _in_brackets(caption: str) -> Iterator[Marker]:
    closed: set[int] = set()
    for match in _BRACKETS.finditer(caption):
        is_citation = match[0][0] == "[" and not any(map(str.isalpha, match[1]))
        if is_citation or not (bounds := find_bounds(caption, match, 2)):
            continue
        start, (end, note), text = match.start(), bounds, match[1]
        if noun := _NOUN_BEFORE.search(caption, max(0, start - _MAX_NOUN), start):
            start = noun.start(1)
        if (length := sensible_length(text, is_rising=False)) < len(text):  # "(A, T1)"
            note, text = (match.start(1) + length + 1, end - 1), text[:length]
        following = _NEXT_IN_BRACKETS.search(caption, *note) if note else None
        if not following or ord(following[1]) != ord(text[-1]) + 1:  # not "(A, axial; B, coronal)"
            yield Marker(start, end, text, "brackets", note)
            closed.add(end - 1)
    for match in _LAST_IN_BRACKETS.finditer(caption):
        if match.end() not in closed and is_in_brackets(caption, match.start()):
            yield Marker(match.start(), match.end(), match[1], "brackets")


def find_bounds(caption: str, match: re.Match[str], closing: int) -> tuple[int, tuple[int, int] | None] | None:
    """Where a marker in brackets ends, and the note in it; None if the bracket does not close."""
    if match[closing]:
        return match.end(), None
    closed = _CLOSING.match(caption, match.end())
    return (closed.end(), (match.end(), closed.end() - 1)) if closed else None


def _before_brackets(caption: str) -> Iterator[Marker]:
    """Labels with a closing bracket that nothing opened, as in "A) Liver"."""
    opened: list[int] = []
    for match in _BRACKET.finditer(caption):
        place = match.start()
        if match[0] == "(":
            opened.append(place)
        elif opened and place - opened[-1] <= _MAX_BRACKETED:
            opened.pop()
        elif place and (caption[place - 1].isalnum() or caption[place - 1] in " '’′"):
            start = max(0, place - _LOOK_BACK)
            if label := _BEFORE_BRACKET.search(caption, start, place):
                yield Marker(label.start(), place + 1, label[1], "bracket")


def _at_starts(caption: str) -> Iterator[Marker]:
    for match in _GLUED.finditer(caption):
        yield Marker(match.start(1), match.end(1), match[1], "bare")
    place = 0
    while match := _AT_START.search(caption, place):
        marker = _at_start(caption, match)
        place = marker.end
        before = caption[max(0, marker.start - 5) : marker.start].removesuffix("and ").rstrip()[-1:]
        is_out_of_place = before and before in _NOT_BEFORE.get(marker.style, "")
        if marker.style == "bare" and before == "(":
            yield replace(marker, start=marker.start - 1, style="opened")
        elif not is_out_of_place and not (marker.style in ("bare", "stop") and before.isalnum()):
            yield marker
    for match in _IN_SENTENCE.finditer(caption):
        if not _TYPE_BEFORE.search(caption, max(0, match.start() - 12), match.start()):
            yield Marker(match.start(1), match.end(), match[1], "colon" if match[2] else "stop")


def _at_start(caption: str, match: re.Match[str]) -> Marker:
    mark: Style = next(name for name in ("colon", "stop", "comma", "bare") if match[name])
    style: Style = "panel" if match["noun"] else mark
    start, end, text = match.start("whole"), match.end("whole"), match["list"]
    if (length := sensible_length(text, is_rising=True)) < len(text):  # "B, A large tumour"
        end, style = match.start("list") + _AFTER_LABEL.match(text, length).end(), "comma"
        text = text[:length]
    return Marker(start, end, text, style)


def _joined(caption: str, markers: list[Marker]) -> list[Marker]:
    """Markers with no more than "and" or a comma between them as one: "(A) and (B)", "((a), (b))"."""
    joined: list[Marker] = []
    for marker in markers:
        last = joined[-1] if joined else None
        between = caption[last.end : marker.start] if last else ""
        if (
            last
            and {last.style, marker.style} <= {"brackets", "bracket"}
            and last.note is None
            and len(last.text) <= _MAX_JOINED
            and len(between) <= len(" through ")
            and re.fullmatch(JOIN, between)
        ):
            joined[-1] = Marker(last.start, marker.end, f"{last.text}{between}{marker.text}", last.style, marker.note)
        else:
            joined.append(marker)
    return [_with_outer_brackets(caption, marker) for marker in joined]


def _with_outer_brackets(caption: str, marker: Marker) -> Marker:
    before, after = caption[marker.start - 1 : marker.start], caption[marker.end : marker.end + 1]
    if marker.style == "brackets" and before == "(" and after == ")":
        return Marker(marker.start - 1, marker.end + 1, marker.text, marker.style, marker.note)
    return marker
