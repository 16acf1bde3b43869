"""Findings in the brace format of MedFILIP's tools: "{severity}{location}{category}, {no}{na}{pleural}{effusion}".

A finding is three groups, or four (descriptor, location, organ, category), side by side. The reader goes through a
text once, whatever it holds: an open brace that never closes, nested braces or a wrong number of groups cost the
finding that they are in, and are counted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

#: What the format writes into a slot that has nothing to say.
PLACEHOLDERS = frozenset(("", "na", "n/a", "none", "mask", "unknown", "null", "-"))
_MAX_SLOT = 200  # characters


class Slots(NamedTuple):
    """A finding as three texts, in lower case; None for a placeholder."""

    severity: str | None
    location: str | None
    category: str | None


def read_braces(text: str) -> tuple[list[Slots], Counter[str]]:
    """The findings of an answer in its order, and how many were not readable, by reason.

    Example:
        >>> read_braces("{Mild}{left base}{atelectasis}, {NA}{right}{lung}{opacity}, {mild}{effusion}.")[0]
        [Slots(severity='mild', location='left base', category='atelectasis'), Slots(severity=None, location='right \
lung', category='opacity')]
    """
    found: list[Slots] = []
    dropped: Counter[str] = Counter()
    for groups in _fragments(text):
        if groups is None:
            dropped["unclosed_brace"] += 1
        elif len(groups) not in (3, 4):
            dropped["wrong_number_of_slots"] += 1
        elif max(map(len, groups)) > _MAX_SLOT:
            dropped["slot_too_long"] += 1
        else:
            found.append(_slots(groups))
    return found, dropped


def fold(text: str | None) -> str | None:
    """A slot in lower case with single blanks; None for a placeholder."""
    folded = " ".join((text or "").split()).strip(" .,;:").lower()
    return None if folded in PLACEHOLDERS else folded


def _slots(groups: Sequence[str]) -> Slots:
    severity, *places, category = map(fold, groups)
    return Slots(severity, " ".join(filter(None, places)) or None, category)


def _fragments(text: str) -> list[list[str] | None]:
    """Groups that stand side by side, as one list each; None for a brace that is not closed before the next opens."""
    fragments: list[list[str] | None] = []
    groups: list[str] = []
    start = behind = -1  # where the open group, and the gap behind the last closed one, begin
    for place, letter in enumerate(text):
        if letter == "{":
            if start >= 0:
                fragments.append(None)
                groups = []
            elif groups and not text[behind:place].isspace() and behind != place:
                fragments.append(groups)
                groups = []
            start = place + 1
        elif letter == "}" and start >= 0:
            groups.append(text[start:place])
            start, behind = -1, place + 1
    if start >= 0:
        fragments.append(None)
    elif groups:
        fragments.append(groups)
    return fragments
