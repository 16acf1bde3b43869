"""Numbers of figures in labels and running text: "Fig. 2A", "Figures S1-S3", "Figure 2—figure supplement 1"."""

import re
from dataclasses import dataclass

Number = tuple[int, ...]

_WORD = (
    r"figures|figure|figs|fig|figuras|figura|figuren|figur|abbildungen|abbildung|abb"
    r"|schemes|scheme|plates|plate|charts|chart|images|image|photos|photo|maps|map|graphs|graph|diagrams|diagram"
)
_HEAD = re.compile(rf"(?=[fFaAsSpPcCiImMgGdD])(?<![^\W_])(?![Ff]igS\d)(?P<word>(?i:{_WORD}))(?![^\W\d_])\.?\s{{0,3}}")
_QUALIFIER = re.compile(  # before the word
    r"(?<![^\W_])(?P<text>(?:supplement(?:ary|al)?|suppl?\.?|supporting|additional\s+files?\s+\d+|online|web|extended"
    r"|(?:appendix|box)(?:\s+\d+)?|author\s+response|decision\s+letter|e?SI|ED)"
    r"(?:\s+(?:data|information|materials?|file))?)(?:[,:]?\s{1,2}|[—–-])\Z",
    re.IGNORECASE,
)
_MAX_QUALIFIER = 40
# "FigS1": the ending of a plural is no ending where it belongs to the number.
_JOINED = re.compile(r"[Ff]ig(?=S\d)")
_ITEM = re.compile(
    r"(?P<prefix>[sS][\s.-]?|[A-Z]{1,2}[.-]?)?(?P<number>\d{1,3}(?:\.\d{1,2})?)(?!\d)"
    r"(?:\s?[—–-]\s?(?P<supplement>figure\s+supplements?)\s(?P<place>\d{1,2})(?!\d))?"
    # parts: A, a-c, (B, D), a and b; never the first letter of a word, nor "a", "e" and "y" that join numbers
    r"(?:(?!\s[aey]\s\d)\s?\(?[A-Za-z]['′]?\)?(?:\s?(?:[,/&‐-―−-]|and)\s?\(?[A-Za-z]['′]?\)?(?!\w))*(?!\w))?"
)
_NOT_FIGURE = re.compile(r"\s?[—–-]\s?(?:source\s+(?:data|code)|video|animation|movie)")
_SEPARATOR = re.compile(
    r"\s{0,2}(?:(?P<range>[‐-―−~-]|(?:to|through|until|a)\b)|(?:[,;/&+]|\b(?:and|or|y|e|und)\b)(?:\s?(?:and|or|&)\b)?)\s{0,2}"
    rf"(?:(?:{_WORD})\.?\s{{0,2}})?",
    re.IGNORECASE,
)
_TRAILING = re.compile(r"S(?<!\wS)(\d{1,3})\s[Ff]ig(?:ure)?(?!\w)")
_AUTHORS = r"[A-Z][\w'’-]+\s(?:et\sal|and\s[A-Z]|&\s)"
_ELSEWHERE = re.compile(
    rf";\s?(?:\x00|{_AUTHORS})|[)\],]?\s(?:in|of|from)\s(?:the\s)?(?:online\s|electronic\s)?"
    rf"(?:(?i:suppl|supporting|additional|appendix|ref|original)|\[|\x00|{_AUTHORS})"
)
_BARE = re.compile(r"\W*(\d{1,3}(?:\.\d{1,2})?)[A-Za-z]?\W*")
_SERIES = (("author", "R"), ("decision", "R"), ("extended", "ED"), ("ed", "ED"))


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Figures of one series from one number to another, usually the same.

    Attributes:
        series: Kind of figure, such as "figure", "S figure" (supplementary) or "figure 2 supplement".
        first: Lowest number; "1.2" is (1, 2).
        last: Highest number.
        start: Where its first number stands in the text.
        end: Where its last number ends.
    """

    series: str
    first: Number
    last: Number
    start: int
    end: int


def find_numbers(text: str) -> list[NumberRange]:
    """Numbers of figures that a text names, in its order, lists and ranges resolved; parts of figures do not matter.

    A list goes on after "Figs" or "Figures" only, since "Fig. 1, 2 of 5 mice" is none. Figures of other works ("Fig. 3
    of Smith et al.") and figures' source data or videos are left out. `\\x00` stands for a reference to a work.

    Example:
        >>> [(found.series, found.first, found.last) for found in find_numbers("Figs 1A-C, 3 and S2")]
        [('figure', (1,), (1,)), ('figure', (3,), (3,)), ('S figure', (2,), (2,))]
    """
    found: list[NumberRange] = []
    place = 0
    while head := _HEAD.search(text, place):
        ranges, place = _read_list(text, head)
        found += ranges
    for match in _JOINED.finditer(text):
        item = _ITEM.match(text, match.end())
        number = _number(item["number"])
        found.append(NumberRange("S figure", number, number, *item.span()))
    for match in _TRAILING.finditer(text):
        found.append(NumberRange("S figure", _number(match[1]), _number(match[1]), *match.span()))
    return sorted(found, key=lambda one: one.start)


def label_numbers(label: str, caption: str = "") -> list[NumberRange]:
    """The numbers that a figure's label gives it; without label, those that its caption begins with."""
    if bare := _BARE.fullmatch(label):
        return [NumberRange("figure", _number(bare[1]), _number(bare[1]), 0, len(label))]
    if label:
        return find_numbers(label)
    head = _HEAD.search(caption[: 2 * _MAX_QUALIFIER])
    if head is None or (_qualifier(caption, head) or head).start() > 0:
        return []
    return _read_list(caption, head)[0]


def _read_list(text: str, head: re.Match[str]) -> tuple[list[NumberRange], int]:
    """The items after one "Fig." or "Figs", and where they end."""
    found: list[NumberRange] = []
    word = head["word"].lower()
    kind = _kind(word)
    before = _qualifier(text, head)
    qualifier = _series(before["text"]) if before else ""
    is_plural = word.endswith("s") or word in ("abbildungen", "figuren")
    place, is_range = head.end(), False
    while item := _ITEM.match(text, place):
        prefix = (item["prefix"] or "").strip(" .-").upper() or qualifier
        series = f"{prefix} {kind}".strip()
        number = _number(item["number"])
        if item["supplement"]:
            series, number = f"{series} {item['number']} supplement", _number(item["place"])
            kind, qualifier, is_plural = series, "", item["supplement"].endswith("s")
        if is_range:
            first = found[-1]
            # "S1-4": the letter holds for both ends
            if series not in (first.series, kind) or number <= first.first:
                break
            found[-1] = NumberRange(first.series, first.first, number, first.start, item.end())
        elif not _NOT_FIGURE.match(text, item.end()):
            found.append(NumberRange(series, number, number, item.start(), item.end()))
        place = item.end()
        separator = _SEPARATOR.match(text, place)
        if separator is None or not found:
            break
        may_go_on = separator["range"] and not is_range or is_plural
        if not may_go_on:
            break
        is_range = separator["range"] is not None
        place = separator.end()
    end = found[-1].end if found else head.end()
    if found and _ELSEWHERE.match(text, end):
        return [], end
    return found, max(end, head.end())


def _qualifier(text: str, head: re.Match[str]) -> re.Match[str] | None:
    return _QUALIFIER.search(text, max(0, head.start() - _MAX_QUALIFIER), head.start())


def _kind(word: str) -> str:
    if word.startswith(("fig", "abb")):
        return "figure"
    return word.removesuffix("s")


def _series(qualifier: str) -> str:
    """Series that a word before "Fig." puts the figure into; whatever is not known by another name is a supplement."""
    text = " ".join(qualifier.lower().split())
    if text.startswith(("appendix", "box")):
        return text.upper()
    return next((series for word, series in _SERIES if text.startswith(word)), "S")


def _number(text: str) -> Number:
    return tuple(map(int, text.split(".")))
