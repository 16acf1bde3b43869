"""What the name of a row says across tables: its article, and its id within it."""

import re

_PMCID = re.compile(r"(?<![a-z])pmc_?(\d{3,})", re.IGNORECASE)
_MERE_NUMBER = re.compile(r"[^\W\d_]{0,8}[ _.-]?0*\d{0,4}|\d{0,6}")  # "12", "row 3", "fig_1" say nothing across tables


def article_of(row_id: str, group_id: str) -> str | None:
    """The PMC id in the group's or the row's name, whatever stands around it, else the group as it is.

    Example:
        >>> article_of("PMC0123_fig1.jpg", ""), article_of("a.jpg", "case 4"), article_of("a.jpg", "")
        ('PMC123', 'case 4', None)
    """
    found = _PMCID.search(group_id) or _PMCID.search(row_id)
    return f"PMC{int(found[1])}" if found else group_id or None


def telling_id(row_id: str, group_id: str) -> tuple[str, str] | None:
    """A row's id within its article; None where it is a mere number and there is no article."""
    article = article_of(row_id, group_id) or ""
    stem = row_id.rsplit("/", 1)[-1].split(".", 1)[0]
    return None if not article and _MERE_NUMBER.fullmatch(stem) else (article, row_id)
