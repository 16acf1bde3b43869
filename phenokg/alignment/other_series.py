"""The other series of labels in a caption: "(A) Skin (a) before and (b) after. (B) Eye." names subfigures twice.

Which of the two the figure prints is not told by its text alone; the picture tells.
"""

import re
from functools import lru_cache

from phenolip.exceptions import DataError
from phenolip.phenokg.records import SplitCaption
from phenolip.phenokg.split_captions import split_caption, subcaptions_from_spans

_MARKERS = {
    "upper": re.compile(r"\(?(?<!\w)[A-Z](?:[0-9]{1,2})?(?:\)|[.:,](?=\s))"),
    # The last is a bold letter whose space was lost: "of the liver.bAxial view".
    "lower": re.compile(r"\(?(?<!\w)[a-z](?:[0-9]{1,2})?(?:\)|[.:,](?=\s))|(?<=[.)\]:;])[a-z](?=[A-Z][a-z])"),
    "decimal": re.compile(r"\(?(?<!\w)[0-9]{1,2}(?:\)|[.:](?=\s))"),
}


@lru_cache(maxsize=64)
def possible_splits(caption: str, figure: str = "") -> tuple[SplitCaption, ...]:
    """The caption as it is split, and as it would be without the markers of that kind.

    Example:
        >>> splits = possible_splits("(A) Skin (a) before and (b) after. (B) Eye. (C) Ear.")
        >>> [[part.label for part in split.subcaptions] for split in splits]
        [['A', 'B', 'C'], ['a', 'b']]
    """
    first = SplitCaption(figure, *split_caption(caption))
    labels = {part.label for part in first.subcaptions}
    for case, marker in _MARKERS.items():
        if labels and all(getattr(label[:1], f"is{case}")() for label in labels):
            other = _split_without(caption, marker, figure)
            if other is not None and {part.label for part in other.subcaptions}.isdisjoint(labels):
                return first, other
    return (first,)


def _split_without(caption: str, marker: re.Pattern[str], figure: str) -> SplitCaption | None:
    """The split of a caption whose markers of one kind are blank; None where that names no subfigures."""
    blank = marker.sub(lambda match: " " * len(match[0]), caption)
    background, parts = split_caption(blank)
    if len(parts) < 2:
        return None
    own = [(part.label, part.start, part.end) for part in parts if part.start < part.end]
    try:
        return subcaptions_from_spans(caption, [(span.start, span.end) for span in background], own, figure)
    except DataError:
        return None  # parts that are blank, or that share text with the background
