"""Words for where a subfigure lies that stand as a label does: "(left)", "Top row:", "Left panel shows"."""

import re
from collections.abc import Iterable

from phenolip.phenokg.captions.subfigure_labels import Marker, find_bounds, is_in_brackets

_SIDE = r"(?:far[ -])?(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re|ral)|first|second|third|fourth|last)"
_PLACE = rf"(?i:{_SIDE}(?:(?:-|\s){{1,2}}(?:left|right|middle|cent(?:er|re|ral)))?)(?!\w)(?:[\s-]most)?"
_PART = r"(?i:panels?|images?|pictures?|figures?|photographs?|photos?|rows?|columns?|lines?)(?!\w)"
_PLACE_IN_BRACKETS = re.compile(rf"\(({_PLACE})(?:\s({_PART}))?(?:(\))|[,;]\s)")
_PLACE_AT_START = re.compile(
    rf"(?:^|(?<=[.;:?!)\n,]))\s{{0,3}}(?:(?i:and|in|on)\s)?(?:(?i:the)\s)?"
    rf"(?P<whole>(?P<place>{_PLACE})(?:\s(?P<part>{_PART}))?(?P<colon>\s?:|(?<![.;:]),\s)?)"
)
_PLACE_THAT_SHOWS = re.compile(
    rf"(?<!\w)(?:(?i:the)\s)?({_PLACE})\s({_PART})(?=\s(?:is|are|(?:show|depict|illustrate|represent|display)s?)\b)"
)
_OPPOSITE = (
    ("left", "right"),
    ("top", "bottom"),
    ("upper", "lower"),
    ("first", "second"),
    ("upper", "bottom"),
    ("top", "lower"),
)


def find_places(caption: str) -> list[Marker]:
    """All words for where a subfigure lies that stand as a label does: "(left)", "Top row:", "Left panel shows"."""
    found = []
    for match in _PLACE_IN_BRACKETS.finditer(caption):
        if bounds := find_bounds(caption, match, 3):
            found.append(Marker(match.start(), bounds[0], _place_label(match[1], match[2]), "position", bounds[1]))
    for match in _PLACE_AT_START.finditer(caption):
        if (match["colon"] or match["part"]) and not is_in_brackets(caption, match.start()):
            found.append(
                Marker(match.start("whole"), match.end(), _place_label(match["place"], match["part"]), "position")
            )
    starts = {marker.end for marker in found}
    for match in _PLACE_THAT_SHOWS.finditer(caption):
        if match.end() not in starts:
            found.append(Marker(match.start(), match.end(), _place_label(match[1], match[2]), "position"))
    return sorted(found, key=lambda marker: marker.start)


def are_opposite(places: Iterable[str]) -> bool:
    """Whether two of the places are opposite, as "upper row" and "lower row" are."""
    words = {word for place in places for word in place.split()}
    return any(one in words and other in words for one, other in _OPPOSITE)


def _place_label(place: str, part: str | None) -> str:
    """As a reader would name it: "top left" of "Top-left panel", "upper row" of "Upper row"."""
    words = re.split(r"[\s-]+", place.lower())
    is_line = part is not None and part.lower().rstrip("s") in ("row", "column", "line")
    return " ".join([*words, part.lower().rstrip("s")] if is_line else words)
