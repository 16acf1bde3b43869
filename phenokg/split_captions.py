"""Captions to parts: what holds for all subfigures, and what each label is said to show, with exact offsets.

By rules, without a model: which places name subfigures is decided in `choose_markers.py`, which text is about which
label in `caption_pieces.py`. A caption that names no subfigure stays whole, as background.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.captions.caption_pieces import Pieces, Span, find_pieces
from phenolip.phenokg.captions.choose_markers import choose_labels
from phenolip.phenokg.captions.subfigure_labels import markers_at_edges
from phenolip.phenokg.records import CaptionedFigure, CaptionSpan, Drop, SplitCaption, Subcaption

STEP = "split_captions"
VERSION = 1
MAX_LABELS = 100
MAX_NAMED = 10_000  # ranges such as (a-z) again and again: each is a text of its own

_OPENING = re.compile(r"(?:[\s.,;:)]|(?:and|or)\s)*")
_CLOSING = ",;("
_LAST_WORD = re.compile(r"[\s,;]+(?:and|or)$")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Bounds of the work on one caption.

    Attributes:
        max_characters: Longest caption; a longer one is left out.
        max_labels: Most subfigures that a caption may name; one with more is left out.
    """

    max_characters: int = 50_000
    max_labels: int = MAX_LABELS

    def __post_init__(self) -> None:
        for setting in fields(self):
            if getattr(self, setting.name) < 1:
                raise ConfigurationError(f"`{setting.name}` must be 1 or more, got {getattr(self, setting.name)}.")


def run(records: Iterable[CaptionedFigure | Drop], config: SplitConfig) -> Iterator[SplitCaption | Drop]:
    """Split captions, in their order; drops among the records are handed on.

    A caption that is not split is one Drop with its reason: "no_caption", "too_long" or "too_many_labels".
    """
    for record in records:
        yield record if isinstance(record, Drop) else _split(record, config)


def _split(record: CaptionedFigure, config: SplitConfig) -> SplitCaption | Drop:
    caption = record.caption
    if not caption.strip():
        return Drop(STEP, record.figure, "no_caption")
    if len(caption) > config.max_characters:
        return Drop(STEP, record.figure, "too_long", f"The caption has {len(caption):,} characters.")
    try:
        return SplitCaption(record.figure, *split_caption(caption, config.max_labels))
    except DataError as error:
        return Drop(STEP, record.figure, "too_many_labels", str(error))


def split_caption(
    caption: str, max_labels: int = MAX_LABELS
) -> tuple[tuple[CaptionSpan, ...], tuple[Subcaption, ...]]:
    """What holds for all subfigures of a caption, and what is said of each.

    Args:
        caption: All of it.
        max_labels: Most subfigures that it may name; each repeats the background.

    Raises:
        DataError: If it names more.

    Example:
        >>> background, parts = split_caption("Chest CT. (A) Normal lung. (B) A nodule (arrow).")
        >>> [(part.label, part.caption) for part in parts]
        [('A', 'Chest CT. Normal lung.'), ('B', 'Chest CT. A nodule (arrow).')]
    """
    labels = choose_labels(caption)
    if (num_labels := len({name for label in labels for name in label.names})) > max_labels:
        raise DataError(f"A caption must name {max_labels:,} subfigures at most, got {num_labels:,}.")
    if (num_named := sum(len(label.names) for label in labels)) > MAX_NAMED:
        raise DataError(f"A caption must name its subfigures {MAX_NAMED:,} times at most, got {num_named:,}.")
    return _put_together(caption, find_pieces(caption, labels) if labels else Pieces([(0, len(caption))]))


def subcaptions_from_spans(
    caption: str,
    background: Iterable[tuple[int, int]],
    labelled_spans: Iterable[tuple[str, int, int]],
    figure: str = "",
) -> SplitCaption:
    """The record of a caption that something else has split, such as a language model; nothing is taken on trust.

    Args:
        caption: All of it.
        background: Start and end of each part that holds for all subfigures.
        labelled_spans: Label, start and end of each subfigure's own text. A label may have several; labels may share
            text. The label's own marker may stand at the begin or the end of a span; it is taken out.
        figure: Names the figure.

    Raises:
        DataError: If a label is empty or an offset is no part of the caption, or if a label's text overlaps with the
            background.

    Example:
        >>> split = subcaptions_from_spans("CT. (A) Liver. (B) Lung.", [(0, 3)], [("A", 4, 14), ("B", 15, 24)])
        >>> split.subcaptions[1]
        Subcaption(label='B', start=19, end=24, caption='CT. Lung.', spans=(CaptionSpan(start=19, end=24),))
    """
    pieces = Pieces([_checked(caption, "background", *span) for span in background])
    for label, start, end in labelled_spans:
        if not isinstance(label, str) or not label.strip():
            raise DataError(f"A label must be text that is not blank, got {label!r}.")
        span = _checked(caption, label, start, end)
        if overlapped := next((part for part in pieces.background if part[0] < end and start < part[1]), None):
            raise DataError(f"Label {label[:40]!r}: its text {span} overlaps with the background {overlapped}.")
        pieces.add([label], *span)
        pieces.markers += markers_at_edges(caption, label, span)
    pieces.markers.sort()
    return SplitCaption(figure, *_put_together(caption, pieces))


def _checked(caption: str, name: str, start: int, end: int) -> Span:
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(caption):
        raise DataError(
            f"Span of {name[:40]!r}: offsets must rise and lie from 0 to {len(caption)}, got {start!r} and {end!r}."
        )
    if not caption[start:end].strip():
        raise DataError(f"Span of {name[:40]!r}: there are no words from {start} to {end}.")
    return start, end


def _put_together(caption: str, pieces: Pieces) -> tuple[tuple[CaptionSpan, ...], tuple[Subcaption, ...]]:
    background = [span for part in sorted(pieces.background) if (span := _trimmed(caption, part))]
    num_labels = Counter(span for spans in pieces.own.values() for span in spans)
    subcaptions = []
    for label, spans in pieces.own.items():
        own = {span: parts for span in spans if (parts := _own_text(caption, span, pieces.markers))}
        main = min(own, key=lambda span: num_labels[span], default=None)  # the first of those that fewest labels share
        start, end = (own[main][0][0], own[main][-1][1]) if main else (spans[0][0], spans[0][0])
        owned = sorted({part for parts in own.values() for part in parts})
        text = " ".join(caption[first:last] for first, last in sorted({*background, *owned}))
        own_spans = tuple(CaptionSpan(*part) for part in owned)
        subcaptions.append(Subcaption(label, start, end, " ".join(text.split()), own_spans))
    subcaptions.sort(key=lambda part: part.start)  # stable: labels of one text stay as they are named
    return tuple(CaptionSpan(*span) for span in background), tuple(subcaptions)


def _own_text(caption: str, span: Span, markers: Sequence[Span]) -> list[Span]:
    """What a span says, between the markers in it; a span without words says nothing."""
    return [trimmed for part in _without(span, markers) if (trimmed := _trimmed(caption, part))]


def _without(span: Span, markers: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span between the markers in it."""
    start, end = span
    first = max(0, bisect_right(markers, (start, start)) - 1)
    for number in range(first, len(markers)):
        marker = markers[number]
        if marker[0] >= end:
            break
        if marker[1] > start:
            yield start, max(start, marker[0])
            start = marker[1]
    yield start, max(start, end)


def _trimmed(caption: str, span: Span) -> Span | None:
    """A span without blanks, commas and "and" at its ends; None if nothing else is in it."""
    start, end = span
    start = _OPENING.match(caption, start, end).end()
    while end > start and (caption[end - 1].isspace() or caption[end - 1] in _CLOSING):
        end -= 1
    if match := _LAST_WORD.search(caption, max(start, end - 8), end):
        end = match.start()
    return (start, end) if start < end else None
