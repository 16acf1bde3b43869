"""Which places of a caption that read like labels do name its subfigures, decided from all of them together.

Labels of a figure make a row: A, B, C, each there, mostly in one style. What breaks the row is something else: an
abbreviation "(P)", a species "E. coli", a grade "(4)". A label that comes again behind a word such as "in" or "as"
only refers to its subfigure and stays part of the text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from phenolip.phenokg.captions.caption_sentences import begins_caption, starts_here
from phenolip.phenokg.captions.label_names import KINDS, ROMAN, Kind, label_place, read_labels
from phenolip.phenokg.captions.place_words import are_opposite, find_places
from phenolip.phenokg.captions.subfigure_labels import Marker, Style, find_markers

_STYLES: tuple[Style, ...] = ("brackets", "bracket", "panel", "colon", "stop", "comma", "bare", "opened")
_STYLES_OF: dict[Kind, tuple[Style, ...]] = {
    "upper": _STYLES,
    "lower": _STYLES,
    "roman": ("brackets", "bracket", "panel", "colon", "stop"),
    "upper roman": ("brackets", "bracket", "panel", "colon", "stop"),
    "number": ("brackets", "bracket", "panel"),
}
_SURE: tuple[Style, ...] = ("brackets", "bracket", "panel")
_REFERS = re.compile(
    r"\b(?:in|as|of|from|between|to|than|see|both|with|like|for|on|by|that|and|panels?|images?|figures?|figs?\.?)\s*\(?$",
    re.IGNORECASE,
)
_COMPARES = re.compile(r"\b(?:as|as in|of|from|between|to|than|see|see also|like|same as)\s*\(?$", re.IGNORECASE)
_BEFORE = 12  # characters that hold a word which refers
_LOWER_WORD = re.compile(r"\s*(?!(?:shows?|is|depicts?|demonstrates?|illustrates?|represents?|displays?)\b)[a-z]")
_NO_LABEL_BEFORE = re.compile(r"\s*(?:cells?|lymph|type|and [a-z])")  # "B cells"
_MEASURED = frozenset(["line", "lines", "distance", "height", "width", "length", "diameter", "angle", "point", "axis"])
_LONG_TEXT = 40  # characters for each number, labels included
_VIEW = re.compile(
    r"\b(?:axial|coronal|sagittal|lateral|frontal|oblique|views?|images?|scans?|sections?|radiographs?|ct|mri|t[12]|stain\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Label:
    """A marker that names subfigures.

    Attributes:
        marker: Where it stands.
        names: The labels, ranges written out.
        is_new: Whether one of them is named here first.
    """

    marker: Marker
    names: tuple[str, ...]
    is_new: bool = True


def choose_labels(caption: str) -> list[Label]:
    """The markers that name subfigures, in the order of the caption; none if the caption names no subfigure."""
    markers = find_markers(caption)
    rows = [row for kind in KINDS if markers and (row := _row(caption, markers, kind))]
    letters = [row for row in rows if row[0].names[0] not in ROMAN and not row[0].names[0].isdecimal()]
    row = max(rows, key=_extent) if rows else _places(caption)
    if letters and row not in letters:
        outer = max(letters, key=_extent)
        row = outer if len(outer) > 1 and outer[0].marker.start < row[0].marker.start else row
    return _without_references(caption, row)


def _extent(row: Sequence[Label]) -> tuple[int, int]:
    """Of rows the one with most labels, of equals that which begins first."""
    return len({name for label in row for name in label.names}), -row[0].marker.start


def _row(caption: str, markers: Sequence[Marker], kind: Kind) -> list[Label]:
    """The labels of one kind, if they make a row."""
    found: dict[Style, list[Label]] = {}
    article = None
    for marker in markers:
        if marker.style not in _STYLES_OF[kind] or not (names := read_labels(marker.text, kind)):
            continue
        if marker.style == "bare" and names == ("A",) and _LOWER_WORD.match(caption, marker.end):
            article = Label(marker, names)  # only where a bare "B" that no "A" precedes shows that it is a label
        elif marker.style in _SURE or _can_be_weak(caption, marker):
            is_bare_b = marker.style == "bare" and names[0] == "B" and not _LOWER_WORD.match(caption, marker.end)
            if is_bare_b and article and "bare" not in found:
                found["bare"] = [article]
            found.setdefault(marker.style, []).append(Label(marker, names))
    if not found:
        return []
    by_style = {style: found[style] for style in _STYLES if style in found}
    chains = {style: _chain(labels, kind, style in _SURE) for style, labels in by_style.items()}
    chains.pop("opened", None)
    if not chains:
        return []
    main = max(chains, key=lambda style: _length(chains[style], kind))  # of equals the surest
    if not _length(chains[main], kind):
        return _alone(caption, by_style)
    row = chains[main]
    for style in (*by_style, *by_style):  # what fills one gap may show that a label behind it belongs to the row
        chosen = set(row)
        row = _filled(row, [label for label in by_style[style] if label not in chosen], kind)
    if not _is_row(caption, row, kind):
        return _alone(caption, by_style)
    return row


def _is_row(caption: str, row: Sequence[Label], kind: Kind) -> bool:
    """Whether labels that follow each other name subfigures, and not the structures that they abbreviate."""
    names = {name for label in row for name in label.names}
    if len(names) < 2:
        return False
    if kind == "number" and row[0].marker.style != "panel" and not _numbers_parts(caption, row):
        return False
    marks = {label.names[0] for label in row if len(label.names) == 1 and _is_mark(caption, label)}
    return len(marks) * 2 <= len(names)


def _numbers_parts(caption: str, row: Sequence[Label]) -> bool:
    """Whether numbers lead what reads like views, and not like the names of structures in one picture."""
    text = caption[row[0].marker.end : row[0].marker.end + _LONG_TEXT * len(row)]
    length = len(caption) - row[0].marker.end
    return starts_here(caption, row[0].marker.start) and (length > _LONG_TEXT * len(row) or bool(_VIEW.search(text)))


def _is_mark(caption: str, label: Label) -> bool:
    """Whether the label abbreviates a word, as in "angle (A)" or "A = angle", or is a mark on what a word measures."""
    if "=" in caption[label.marker.end - 2 : label.marker.end]:
        return caption[label.marker.end : label.marker.end + 1].lower() == label.names[0].lower()
    words = caption[max(0, label.marker.start - 40) : label.marker.start].lower().split()
    if label.marker.style != "brackets" or not words or not words[-1][-1].isalnum():
        return False
    return words[-1][:1] == label.names[0].lower() or words[-1] in _MEASURED


def _can_be_weak(caption: str, marker: Marker) -> bool:
    """Whether a marker without brackets can be a label, and is not a word or an initial."""
    if marker.style != "bare":
        return True
    if len(marker.text) > 1 and not _is_list(marker.text):
        return False
    following = caption[marker.end : marker.end + 12]
    return not _NO_LABEL_BEFORE.match(following)


def _is_list(text: str) -> bool:
    return not text.isalnum()


def _places_of(label: Label, kind: Kind) -> list[int]:
    return [place[0] for name in label.names if (place := label_place(name, kind))]


def _length(labels: Sequence[Label], kind: Kind) -> int:
    return len({place for label in labels for place in _places_of(label, kind)})


def _chain(labels: Sequence[Label], kind: Kind, is_sure: bool) -> list[Label]:
    """Labels of one style that follow each other from the first of the row.

    In a sure style all of the row are taken, also those that come again; in another only what carries it on.
    """
    if is_sure:
        present = {place for label in labels for place in _places_of(label, kind)}
        last = _reach(present)
        return [label for label in labels if max(_places_of(label, kind)) < last]
    chain: list[Label] = []
    seen: set[int] = set()
    names: set[str] = set()
    for label in labels:
        places = set(_places_of(label, kind))
        is_next = next(place for place in range(len(seen) + 1) if place not in seen) in places
        is_nested = max(seen, default=-1) in places and len(label.names[0]) > 1  # "B2" behind "B1"
        if (is_next and places.isdisjoint(seen)) or (is_nested and names.isdisjoint(label.names)):
            chain.append(label)
            seen |= places
            names.update(label.names)
    last = _reach(seen)
    return [label for label in chain if max(_places_of(label, kind)) < last]


def _reach(present: set[int]) -> int:
    """How far a row reaches that may lack one label, and one more in every four."""
    reach, missing = 0, 0
    for place in range(max(present, default=-1) + 1):
        missing += place not in present
        if place in present and (missing <= 1 or missing * 4 <= place):
            reach = place + 1
    return reach


def _filled(row: Sequence[Label], labels: Iterable[Label], kind: Kind) -> list[Label]:
    """The row with labels of another style that stand where one is missing or carry it on."""
    first_at: dict[int, int] = {}
    for label in row:
        for place in _places_of(label, kind):
            first_at.setdefault(place, label.marker.start)
    added: list[Label] = []
    for label in labels:
        places = _places_of(label, kind)
        low, high = min(places), max(places)
        before, after = first_at.get(low - 1), first_at.get(high + 1)
        fits = all(place not in first_at for place in places) and high <= max(first_at) + len(places)
        if fits and (before is None or before < label.marker.start) and (after is None or label.marker.start < after):
            if before is not None or after is not None:
                added.append(label)
                first_at |= dict.fromkeys(places, label.marker.start)
    return sorted([*row, *added], key=lambda label: label.marker.start)


def _alone(caption: str, by_style: dict[Style, list[Label]]) -> list[Label]:
    """The one label of a caption that begins with it, as that of a figure's part does: "(B) Axial view"."""
    for style in ("brackets", "bracket"):
        for label in by_style.get(style, ())[:1]:
            if begins_caption(caption, label.marker.start) and not label.names[0].isdecimal():
                return [label]
    return []


def _places(caption: str) -> list[Label]:
    """Words for places that name subfigures: there must be two that are opposite."""
    labels = [Label(marker, (marker.text,)) for marker in find_places(caption)]
    return labels if are_opposite(label.names[0] for label in labels) else []


def _without_references(caption: str, labels: Sequence[Label]) -> list[Label]:
    """The labels less those that only refer to a subfigure which is named elsewhere."""
    starts = [starts_here(caption, label.marker.start) for label in labels]
    named_at_starts = {
        name for label, is_start in zip(labels, starts, strict=True) if is_start for name in label.names
    }
    kept: list[Label] = []
    seen: set[str] = set()
    group: set[str] = set()  # of the last marker with several labels, while nothing else is named
    for label, is_start in zip(labels, starts, strict=True):
        names = set(label.names)
        is_new = not names <= seen
        if is_new and names <= named_at_starts and not is_start and _stands_behind(_COMPARES, caption, label):
            continue
        if not is_new and not is_start:
            if _stands_behind(_REFERS, caption, label) or (len(names) == 1 and not names <= group):
                continue
        kept.append(Label(label.marker, label.names, is_new))
        group = names if len(names) > 1 else group if names <= group else set()
        seen |= names
    return kept


def _stands_behind(words: re.Pattern[str], caption: str, label: Label) -> bool:
    before = caption[max(0, label.marker.start - _BEFORE) : label.marker.start]
    return label.marker.style != "position" and bool(words.search(before))
