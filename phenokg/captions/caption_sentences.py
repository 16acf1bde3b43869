"""Where the sentences of a caption begin."""

import re

_SENTENCE_END = re.compile(r"[.!?][)\]\"”’]?\s+(?=[\w(\[*#\"“])|(?<=[a-z)\]0-9])\.(?=\(?[A-Z][a-z\s)])|\n\s{0,9}\n")
_NO_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|al|figs?|ca|cf|approx|resp|dr|no|st|spp?|var|etc|[A-Z]))\.$", re.IGNORECASE
)
_HEADING = re.compile(
    r"\s*(?:(?:supplement(?:ary|al) )?(?:fig(?:ure|\.)?|plate) ?S?[0-9]+[A-Za-z]?)?[.:|]?\s*", re.IGNORECASE
)
_MAX_HEADING = 40  # characters of "Figure 2."
_STARTS_AFTER = frozenset(".;:!?")


def find_sentence_starts(caption: str) -> list[int]:
    """Where sentences begin, the first at 0."""
    starts = [0]
    for match in _SENTENCE_END.finditer(caption):
        if match[0].isspace() or not _NO_END.search(caption, max(0, match.start() - 8), match.start() + 1):
            starts.append(match.end())
    return starts


def starts_here(caption: str, place: int) -> bool:
    """Whether a sentence, a part of a list or the caption begins here."""
    return begins_caption(caption, place) or caption[max(0, place - 4) : place].rstrip()[-1:] in _STARTS_AFTER


def begins_caption(caption: str, place: int) -> bool:
    """Whether nothing but the figure's number stands before a place."""
    return place <= _MAX_HEADING and _HEADING.fullmatch(caption, 0, place) is not None
