"""Ends of captions that speak of every subfigure: scale bars, magnification, abbreviations, statistics, sources."""

import re
from collections.abc import Sequence

#: With what a sentence of each kind begins.
_BEGINS: dict[str, tuple[str, ...]] = {
    "scale": (r"(?:\w+\s)?(?:scale\s)?bars?\b", r"scales?\b"),
    "magnification": (r"\(?(?:\w+\s)?magnifi(?:cations?|ed)\b", r"\(?[*x×]\s?[0-9]", r"\(?[0-9]{1,4}\s?[x×*]"),
    "stain": (r"\(?ha?ematoxylin", r"\(?h\s?&\s?e\b", r"\(?h-e\b", r"(?:counter)?stain", r"nuclei (?:were|are)"),
    "all": (
        r"(?:in )?(?:all|each|both|every)\b",
        r"the (?:\S{1,30} )?(?:images|figures|panels)\b",
        r"(?:images|photographs|micrographs|sections)\b",
    ),
    "signs": (
        r"(?:\w+\s)?(?:arrow|arrowhead|asterisk|star|circle|(?:dotted|dashed) line)s?\b",
        r"\*+\s?(?:indicates?|denotes?)",
    ),
    "statistics": (
        r"(?:data|results|values|error bars|means?)\b",
        r"(?:statistic|significan)",
        r"\(?[*#†‡]+\)?",
        r"[pn]\s?[<=>]",
    ),
    "abbreviations": (r"abbreviations?\b", r"(?-i:[A-Z])[\w+/-]{0,9}\s?(?:[,:=;–-]|indicates|denotes)\s?\w"),
    "source": (
        r"\(?(?:figure )?(?:reproduced|adapted|reprinted|modified)\b",
        r"(?:courtesy|copyright|source|note|see|for (?:interpretation|details))\b",
    ),
}
_KINDS = {kind: re.compile("|".join(begins), re.IGNORECASE) for kind, begins in _BEGINS.items()}
_PARTS = re.compile(r"[.;]\s+")


def find_common_ending(caption: str, begins: Sequence[int], earlier: str) -> int:
    """Where the end of a caption begins that holds for all subfigures; its length if there is none.

    Args:
        caption: All of it.
        begins: Of the last subfigure's sentences, the first of which is always its own.
        earlier: The text before. A subfigure that has a sentence of some kind to itself there makes it likely that
            the last one has too.
    """
    common = len(caption)
    if len(begins) < 2:
        return common
    taken = {_kind(earlier, match.end()) for match in _PARTS.finditer(earlier)}
    for begin in reversed(begins[1:]):
        kind = _kind(caption, begin)
        if kind is None or kind in taken:
            break
        common = begin
    return common


def _kind(text: str, begin: int) -> str | None:
    return next((kind for kind, pattern in _KINDS.items() if pattern.match(text, begin)), None)
