"""The parts of a report that say what an image shows: its sections by their headings."""

import re
from collections.abc import Sequence

SECTIONS = ("findings", "impression")
_OTHER_NAMES = {"impression": ("impressions", "conclusion", "conclusions"), "findings": ("finding",)}
_KNOWN = (
    "findings?|impressions?|conclusions?|indications?|history|comparisons?|technique|exam(?:ination)?|reason|"
    "recommendations?|notifications?|addendum|wet read"
)
_IN_CAPITALS = re.sub(r"[a-z]+", lambda name: name[0].upper(), _KNOWN)
# A line that begins with a name, alone or in a phrase in capitals ("CLINICAL HISTORY"), or a name in capitals inside a
# line. Other words before a colon ("LUNGS:") belong to the section that they stand in.
_HEADING = re.compile(
    rf"^[ \t]*(?P<line>(?i:{_KNOWN})|[A-Z /,&()'-]{{0,60}}\b(?:{_IN_CAPITALS})\b[A-Z /,&()'-]{{0,60}})[ \t]*:"
    rf"|(?<=\s)(?P<inside>{_IN_CAPITALS})[ \t]*:",
    re.MULTILINE,
)
_FINAL = re.compile(r"^[ \t]*FINAL REPORT[ \t]*$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
WHOLE, LAST_PARAGRAPH = "whole report", "last paragraph"


def pick_sections(report: str, wanted: Sequence[str] = SECTIONS) -> tuple[str, tuple[str, ...]]:
    """The text under some headings, in the order of the report, and where it comes from.

    What stands before a line FINAL REPORT does not count. A report without headings is taken whole; of one that has
    headings, but none that is wanted, the last paragraph without a heading.

    Args:
        report: As it is written.
        wanted: Names of sections in small letters; a heading that holds one of them counts ("FINDINGS AND
            IMPRESSION"), a conclusion is an impression.

    Returns:
        The text with its runs of white space made single blanks, empty where there is none, and its sections.

    Example:
        >>> pick_sections("HISTORY: Cough.\\n\\nFINDINGS: Clear lungs.\\n No effusion.\\n\\nIMPRESSION: Normal.")
        ('Clear lungs. No effusion. Normal.', ('findings', 'impression'))
    """
    if final := list(_FINAL.finditer(report)):
        report = report[final[-1].end() :]
    headings = list(_HEADING.finditer(report))
    if not headings:
        return _plain(report), (WHOLE,) if report.strip() else ()
    ends = [heading.start() for heading in headings[1:]] + [len(report)]
    texts, names = [], []
    for heading, end in zip(headings, ends, strict=True):
        name = _name(heading.group("line") or heading.group("inside"), wanted)
        if name and (text := _plain(report[heading.end() : end])):
            texts.append(text)
            names.append(name)
    if texts:
        return " ".join(texts), tuple(dict.fromkeys(names))
    loose = [part for part in _PARAGRAPH.split(report) if part.strip() and not _HEADING.search(part)]
    return (_plain(loose[-1]), (LAST_PARAGRAPH,)) if loose else ("", ())


def _name(heading: str, wanted: Sequence[str]) -> str | None:
    words = re.findall(r"[a-z]+", heading.lower())
    return next((name for name in wanted if not {name, *_OTHER_NAMES.get(name, ())}.isdisjoint(words)), None)


def _plain(text: str) -> str:
    return " ".join(text.split())
