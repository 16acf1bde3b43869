"""Figures that may become pairs, before anything costly is done with their images: by licence, caption, phenotypes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import Drop, LicenseCategory, LinkedFigure, PhenotypeLink

STEP = "select_figures"
VERSION = 1
#: What a text says of a phenotype that its image may show; the others are ruled out, someone else's, or past.
SHOWN = frozenset(("present", "uncertain"))


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Which figures go on.

    Attributes:
        licenses: Kinds that are kept: commercial, non-commercial, no-derivatives, unknown.
        require_phenotype: Leave out figures whose caption names no phenotype as present or uncertain.
    """

    licenses: tuple[LicenseCategory, ...] = ("commercial", "non-commercial", "no-derivatives")
    require_phenotype: bool = True

    def __post_init__(self) -> None:
        known = get_args(LicenseCategory)
        if not self.licenses or any(category not in known for category in self.licenses):
            raise ConfigurationError(f"`licenses` must be some of {', '.join(known)}, got {self.licenses}.")


def run(records: Iterable[LinkedFigure], config: SelectConfig) -> Iterator[LinkedFigure | Drop]:
    """The figures that are kept, in their order.

    Reasons of Drops: "no_license", "license_not_wanted", "no_caption", "no_phenotype".
    """
    for record in records:
        unwanted = _why_unwanted(record, config)
        yield record if unwanted is None else Drop(STEP, f"{record.article_id}/{record.figure.id}", *unwanted)


def names_phenotype(links: Iterable[PhenotypeLink]) -> bool:
    """Whether a phenotype is named that the image may show."""
    return any(link.assertion in SHOWN for link in links)


def _why_unwanted(record: LinkedFigure, config: SelectConfig) -> tuple[str, str] | None:
    """Reason and detail."""
    category = record.license.category
    if category not in config.licenses:
        if category == "unknown":
            stated = record.license.text[:80]
            return "no_license", f"Its licence is not known: {stated!r}." if stated else "It states no licence."
        return "license_not_wanted", f"Its licence is {record.license.spdx or category}."
    if not record.figure.caption.strip():
        return "no_caption", "The figure has no caption."
    if config.require_phenotype and not names_phenotype(record.links):
        if record.links:
            return "no_phenotype", "All that the caption names is denied, of relatives, or past."
        return "no_phenotype", "The caption names none."
    return None
