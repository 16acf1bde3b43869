"""Whether a label of a caption leads its text, follows it or stands inside of it."""

import re
from collections.abc import Sequence
from typing import Literal

from phenolip.phenokg.captions.caption_sentences import begins_caption, starts_here
from phenolip.phenokg.captions.choose_markers import Label

#: "(a) Axial CT.", "axial CT (a) and ...", "axial CT (a) shows a mass."
Role = Literal["leads", "follows", "inside"]

_ENDS_BEFORE = re.compile(r"\s*(?:[.,;)\]]|$)|\s*(?:and|or|while|whereas)\b")
_LEADS_AFTER = re.compile(r"(?:\b(?:and|or|while|whereas|either|showing|shows?|with)|,)\s*$", re.IGNORECASE)
_VERB = re.compile(
    r"\s?(?:(?:show|reveal|demonstrat|depict|illustrat|display|represent|indicat|confirm)(?:e?[sd]?|ing)"
    r"|is|are|was|were|has|have|had|where|which)\b"
)
_ENDS_PLAINLY = re.compile(r"\s{0,3}(?:[.,;)\]]|$)")
_PART_END = re.compile(r"[.;]\s")
_PUNCTUATED = re.compile(r"\s?[:,]")


def find_roles(caption: str, labels: Sequence[Label]) -> list[Role]:
    """Whether each label leads its text or follows it; where its surroundings do not say, as most of the others."""
    found = [_role(caption, label) for label in labels]
    if "follows" not in found and _close_sentences(caption, labels):
        return ["follows"] * len(labels)
    for number in range(1, len(labels)):  # "axial (a) and coronal (b) images show"
        if found[number] == "inside" and found[number - 1] == "follows":
            if not _PART_END.search(_between(caption, labels, number)):
                found[number] = "follows"
    leading, following = found.count("leads"), found.count("follows")
    if leading == following:
        weak = [role or _weak_role(caption, label) for role, label in zip(found, labels, strict=True)]
        found = weak if leading == 0 else found
        leading, following = weak.count("leads"), weak.count("follows")
    usual: Role = "leads" if leading > following or leading == following > 0 else "follows"
    roles: list[Role] = []
    for number, role in enumerate(found):
        is_same = number and not _PART_END.search(_between(caption, labels, number))
        roles.append(role or (roles[-1] if is_same and roles[-1] != "inside" else usual))
    return roles


def _close_sentences(caption: str, labels: Sequence[Label]) -> bool:
    """Whether labels stand behind the full stop: "Axial CT. (A) Coronal CT. (B)", with nothing behind the last."""
    first, last = labels[0].marker, labels[-1].marker
    is_at_end = len(caption) - last.end <= 3 and not caption[last.end :].strip(" .\n")
    return is_at_end and last.style == "brackets" and not begins_caption(caption, first.start) and len(labels) > 1


def _between(caption: str, labels: Sequence[Label], number: int) -> str:
    """Text between a label and the one before it."""
    return caption[labels[number - 1].marker.end : labels[number].marker.start]


def _role(caption: str, label: Label) -> Role | None:
    """The role of a label that its surroundings show plainly."""
    marker = label.marker
    is_set_off = marker.style in ("brackets", "bracket") or caption.startswith("(", marker.start)
    if not is_set_off or starts_here(caption, marker.start):
        return "leads"
    if _PUNCTUATED.match(caption, marker.end) and caption[max(0, marker.start - 2) : marker.start].endswith(", "):
        return None
    if _ENDS_PLAINLY.match(caption, marker.end):
        return "follows"
    if marker.style == "bracket":
        return "leads"
    before = caption[max(0, marker.start - 16) : marker.start]
    if _VERB.match(caption, marker.end):
        return "inside"
    if _LEADS_AFTER.search(before) and not _ENDS_BEFORE.match(caption, marker.end):
        return "leads"
    return "follows" if _ENDS_BEFORE.match(caption, marker.end) and not _LEADS_AFTER.search(before) else None


def _weak_role(caption: str, label: Label) -> Role | None:
    return "follows" if _ENDS_BEFORE.match(caption, label.marker.end) else None
