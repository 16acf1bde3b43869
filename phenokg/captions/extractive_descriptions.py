"""Descriptions without a model: the words of the caption, and nothing that it does not say."""

import re

from phenolip.phenokg.captions.modality_words import ModalityWords, find_modality, modality_spans
from phenolip.phenokg.captions.refined_records import CaptionToRefine, GroundedPhenotype, RefinedCaption
from phenolip.phenokg.link_phenotypes import PhenotypeLinker

_FIGURE_NUMBER = re.compile(
    r"\A\s*(?:fig(?:ure)?s?\.?|image|plate)\s*\d{1,3}[A-Za-z]?\s*[.:|\u2013-]?\s+", re.IGNORECASE
)


def describe(record: CaptionToRefine, linker: PhenotypeLinker, failure: str = "") -> RefinedCaption:
    """Background and own text; in front of them the words of the modality where these do not say it.

    Words from elsewhere, the other subfigures' text and the paragraphs, are added only if all there name one modality.

    Args:
        record: What the article says.
        linker: Finds the phenotypes.
        failure: Why no model wrote the description, where one was asked.
    """
    given = subcaption_of(record)
    text = _without_marks(given, record.label) or given
    modality = modality_of(record)
    words = modality.surface if modality else ""
    is_elsewhere = modality is not None and modality.place > 1
    return RefinedCaption(
        key=record.key,
        description=f"{words[:1].upper()}{words[1:]}: {text}" if is_elsewhere else text,
        modality=modality.modality if modality else "",
        modality_words=words,
        phenotypes=_phenotypes(text, linker),
        dropped_claims=(),
        method="extractive",
        caption=given,
        failure=failure,
    )


def subcaption_of(record: CaptionToRefine) -> str:
    """What the caption says of the subfigure, on one line."""
    return " ".join((record.subcaption or record.caption).split())


def modality_of(record: CaptionToRefine) -> ModalityWords | None:
    """The modality by the own text, else the subcaption; where these are silent, the one that all else names.

    The place of the answer is 0 for own text, 1 for the subcaption, 2 for the caption, then those of the paragraphs.
    """
    near = find_modality([record.own_text, subcaption_of(record)])
    if near is not None:
        return near
    elsewhere = [record.caption, *record.paragraphs]
    named = [(place, *span) for place, text in enumerate(elsewhere) for span in modality_spans(text)]
    if len({modality for _, modality, _, _ in named}) != 1 or named[0][1] == "Other":
        return None  # a diagram beside it says nothing of an image
    place, modality, start, end = named[0]
    return ModalityWords(modality, elsewhere[place][start:end], 2 + place)


def _without_marks(text: str, label: str) -> str:
    """The text without a figure's number and the subfigure's label in front, "Figure 2. (B)"."""
    text = _FIGURE_NUMBER.sub("", text, count=1)
    if label:
        text = re.sub(rf"\A\(?{re.escape(label)}\)[\s.:,]*", "", text, count=1, flags=re.IGNORECASE)
    return text.strip()


def _phenotypes(text: str, linker: PhenotypeLinker) -> tuple[GroundedPhenotype, ...]:
    """Those that a text states or thinks possible, each once."""
    stated = [link for link in linker.link(text) if link.assertion in ("present", "uncertain")]
    first = {link.hpo_id: link for link in reversed(stated)}
    return tuple(
        GroundedPhenotype(link.hpo_id, link.name, link.surface, "subcaption", link.assertion, link.score)
        for link in stated
        if first[link.hpo_id] is link
    )
