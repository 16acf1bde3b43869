"""Which paragraphs of an article cite which figure: by reference, by range, or by number in plain text."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from lxml import etree

from phenolip.phenokg.articles.figure_numbers import Number, NumberRange, find_numbers, label_numbers
from phenolip.phenokg.articles.jats_text import flat_text, one_line, text_pieces

_PARAGRAPHS = ("p", "list-item", "def", "disp-quote", "fn", "speech", "verse-line")
_FLOATS = ("fig", "fig-group", "table-wrap", "table-wrap-group", "boxed-text", "supplementary-material", "media")
_CAPTIONED = {"fig", "fig-group", "table-wrap", "supplementary-material", "media"}
_SCOPES = {"article", "sub-article", "response"}
_GROUPS = {"fig", "fig-group", "supplementary-material"}
# Objects of their own inside a figure: who cites a figure's source data does not cite the figure.
_OWN_OBJECTS = {"supplementary-material", "table-wrap", "media", "fn", "disp-formula"}
_FIGURE_TYPES = {None, "", "fig", "figs", "figure", "fig-group", "figure-group", "plate", "scheme", "chart", "other"}
_RANGE = re.compile(
    r"\s*(?:[A-Za-z]\s?)?(?:[‐-–−~-]|—|(?:to|through|until|a)\b)\s*(?:fig(?:ure|s|ures)?\.?|figuras?)?\s*",
    re.IGNORECASE,
)
_MAY_CITE = ("fig", "abb", "scheme", "plate", "chart", "image", "photo", "map", "graph", "diagram")
_REFERENCE = "\x00"  # in place of the number of a cited work, which is no part of a figure's


@dataclass(frozen=True, slots=True)
class FigureText:
    """A figure and the texts that may hold its number.

    Attributes:
        element: The `fig`.
        label: As flattened; may be empty.
        caption: As flattened.
        group_label: Of the `fig-group` around it.
    """

    element: etree._Element
    label: str
    caption: str
    group_label: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a paragraph stands: in which article or sub-article, in which figure or group, whether in a caption."""

    scope: etree._Element
    figure: etree._Element | None
    is_caption: bool


def find_citing_paragraphs(
    article: etree._Element, figures: Sequence[FigureText], check: Callable[[], None]
) -> list[tuple[str, ...]]:
    """For each figure the paragraphs that cite it: of the running text, then of captions, each in document order.

    A paragraph is the closest `p`, without floats inside it, or where there is none an item of a list, a definition or
    a note. It cites a figure if it refers to its id, to that of a part of it or of its group; if it names a range that
    the figure lies in; or if it names the figure's number outside of any reference. Numbers hold within one article,
    sub-article or response; ids everywhere. Headings and table cells are no paragraphs, and a figure's own caption
    does not cite it.

    Args:
        article: The whole article.
        figures: All its figures, in document order.
        check: Called between paragraphs; raises when time is up.
    """
    if not figures:
        return []
    index = _FigureIndex(figures)
    running: list[list[str]] = [[] for _ in figures]
    captions: list[list[str]] = [[] for _ in figures]
    for element in article.iter(*_PARAGRAPHS):
        check()
        if element.tag != "p" and element.find(".//p") is not None:
            continue
        if element.find(".//xref") is None and not _may_cite(element):
            continue
        place = _place_of(element)
        pieces, references = text_pieces(element, skip=(*_FLOATS, "p"))
        cited = sorted(_cited(pieces, references, place.scope, index) - index.inside(place.figure))
        if not cited:
            continue
        has_inner = element.tag == "p" and element.find(".//p") is not None
        text = flat_text(element, skip=_FLOATS) if has_inner else one_line("".join(pieces))
        for number in cited:
            (captions if place.is_caption else running)[number].append(text)
    return [(*texts, *others) for texts, others in zip(running, captions, strict=True)]


class _FigureIndex:
    """Figures by id and by number; a figure is its place in the list."""

    def __init__(self, figures: Sequence[FigureText]) -> None:
        self._by_id: dict[str, list[int]] = defaultdict(list)
        self._by_number: dict[tuple[etree._Element, str], dict[Number, list[int]]] = {}
        self._inside: dict[etree._Element, set[int]] = defaultdict(set)
        self._scopes = [_scope_of(figure.element) for figure in figures]
        self.spans = [_spans(figure) for figure in figures]
        for place, figure in enumerate(figures):
            for around in (figure.element, *figure.element.iterancestors("fig", "fig-group")):
                self._inside[around].add(place)
            for name in _ids_of(figure.element):
                self._by_id[name].append(place)
            for span in self.spans[place]:
                numbers = self._by_number.setdefault((self._scopes[place], span.series), {})
                for number in _expand(span):
                    numbers.setdefault(number, []).append(place)

    def inside(self, element: etree._Element | None) -> set[int]:
        """Figures that an element, a figure or a group, consists of."""
        return self._inside.get(element, set())

    def with_id(self, name: str, scope: etree._Element) -> list[int]:
        """Figures that an id stands for: those of the same sub-article, else those of any."""
        places = self._by_id.get(name, [])
        return [place for place in places if self._scopes[place] is scope] or places

    def with_numbers(self, series: str, first: Number, last: Number, scope: etree._Element) -> Iterable[int]:
        """Figures of a series that a range covers."""
        numbers = self._by_number.get((scope, series), {})
        if first == last:
            return numbers.get(first, ())
        return (place for number, places in numbers.items() if first <= number <= last for place in places)

    def between(self, first: int, last: int) -> Iterable[int]:
        """Figures of the same series between two, by number where both have one, else by place."""
        scope = self._scopes[first]
        if scope is not self._scopes[last]:
            return ()
        one, other = self.spans[first][:1], self.spans[last][:1]
        if one and other:
            if one[0].series != other[0].series:
                return ()
            return self.with_numbers(one[0].series, one[0].first, other[0].last, scope)
        return range(first, last + 1) if not one and not other else ()


def _cited(
    pieces: list[str],
    references: list[tuple[int, int, etree._Element]],
    scope: etree._Element,
    index: _FigureIndex,
) -> set[int]:
    resolved: list[tuple[int, int, list[int]]] = []
    pieces = list(pieces)
    for start, end, xref in references:
        targets = [
            place for name in re.split(r"[\s,;]+", xref.get("rid") or "") for place in index.with_id(name, scope)
        ]
        if targets:
            resolved.append((start, end, targets))
        elif xref.get("ref-type") not in _FIGURE_TYPES and end > start:
            pieces[start:end] = [_REFERENCE, *[""] * (end - start - 1)]
    cited = {place for _, _, targets in resolved for place in targets}
    for (_, end, before), (start, _, after) in pairwise(resolved):
        if _RANGE.fullmatch("".join(pieces[end:start])[:40]):
            cited.update(index.between(before[-1], after[0]))
    offsets = [0, *accumulate(map(len, pieces))]
    spans = [(offsets[start], offsets[end]) for start, end, _ in resolved]
    for found in _beyond_references(find_numbers("".join(pieces)), spans):
        cited.update(index.with_numbers(found.series, found.first, found.last, scope))
    return cited


def _beyond_references(found: list[NumberRange], spans: list[tuple[int, int]]) -> Iterable[NumberRange]:
    """Numbers that say more than the references around them: a reference that names one figure is its id's matter."""
    inside: dict[int, list[NumberRange]] = defaultdict(list)
    place = 0
    for number in found:
        while place < len(spans) and spans[place][1] <= number.start:
            place += 1
        if place < len(spans) and spans[place][0] <= number.start and number.end <= spans[place][1]:
            inside[place].append(number)
        else:
            yield number
    for numbers in inside.values():
        if len(numbers) > 1 or numbers[0].first != numbers[0].last:
            yield from numbers


def _may_cite(element: etree._Element) -> bool:
    text = "".join(element.itertext()).lower()
    return any(word in text for word in _MAY_CITE)


def _place_of(element: etree._Element) -> _Place:
    figure, is_caption = None, False
    for ancestor in element.iterancestors():
        if figure is None and ancestor.tag in ("fig", "fig-group"):
            figure = ancestor
        is_caption = is_caption or ancestor.tag in _CAPTIONED
        if ancestor.tag in _SCOPES:
            return _Place(ancestor, figure, is_caption)
    raise AssertionError("a paragraph stands in an article")


def _scope_of(element: etree._Element) -> etree._Element:
    return next(ancestor for ancestor in element.iterancestors() if ancestor.tag in _SCOPES)


def _ids_of(figure: etree._Element) -> Iterable[str]:
    """Ids that stand for a figure: its own, those of its parts, and those of groups around it."""
    names = dict.fromkeys(ancestor.get("id") for ancestor in figure.iterancestors() if ancestor.tag in _GROUPS)
    waiting = [figure]
    while waiting:
        element = waiting.pop()
        names[element.get("id")] = None
        waiting += [child for child in element if child.tag != "fig" and child.tag not in _OWN_OBJECTS]
    return filter(None, names)


def _spans(figure: FigureText) -> list[NumberRange]:
    return label_numbers(figure.label, "" if figure.label else figure.caption) or label_numbers(figure.group_label)


def _expand(span: NumberRange) -> Iterable[Number]:
    """Every number that a label such as "Figs 1-5" gives."""
    if len(span.first) == len(span.last) == 1:
        return ((number,) for number in range(span.first[0], span.last[0] + 1))
    return (span.first, span.last) if span.first != span.last else (span.first,)
