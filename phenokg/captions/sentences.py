"""Sentences of clinical text, and as many of them as a budget of tokens holds."""

import re
from collections.abc import Iterator

_BREAK = re.compile(r"[.!?][)\]\"'\u201d]*\s+(?=[\"'\u201c(\[]*[A-Z0-9])|\n\s*\n")
_LAST_WORD = re.compile(r"([\w.]+)\.$")
# What a full stop behind it does not end: "Fig. 2", "et al. 2019", "vs. T3", "Dr. Smith".
_SHORTENED = frozenset(
    "fig figs figure tab e.g i.e vs cf al approx ca dr prof mr mrs ms st no nos ref refs eq eqs resp incl vol".split()
)
_BYTES_PER_TOKEN = 3.0  # English takes about 4, tables and other scripts less: an estimate on the safe side


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, in order, without the blanks between them.

    Example:
        >>> list(sentences("Mass in Fig. 2 (arrow). No effusion vs. T3 at 1.5 T here. Normal?"))
        ['Mass in Fig. 2 (arrow).', 'No effusion vs. T3 at 1.5 T here.', 'Normal?']
    """
    start = 0
    for match in _BREAK.finditer(text):
        word = _LAST_WORD.search(text, max(start, match.start() - 20), match.start() + 1)
        if word and match.group()[0] == "." and _is_shortened(word.group(1)):
            continue
        if sentence := text[start : match.end()].strip():
            yield sentence
        start = match.end()
    if sentence := text[start:].strip():
        yield sentence


def estimated_tokens(text: str) -> int:
    """About how many tokens a language model reads a text as; more rather than fewer."""
    return int(len(text.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN) + 1


def within_budget(text: str, max_tokens: int) -> str:
    """The first sentences of a text that fit.

    Example:
        >>> within_budget("One mass. Two masses. Three masses.", 9)
        'One mass. Two masses.'
    """
    kept, left = [], max_tokens
    for sentence in sentences(text):
        left -= estimated_tokens(sentence)
        if left < 0:
            break
        kept.append(sentence)
    return " ".join(kept)


def _is_shortened(word: str) -> bool:
    return word.lower() in _SHORTENED or (len(word) == 1 and word.isupper())
