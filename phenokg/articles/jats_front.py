"""What the front of a JATS article says about it: ids, journal, dates, licence, title, abstract."""

import re
from collections.abc import Iterable, Iterator

from lxml import etree

from phenolip.phenokg.articles.id_types import PMCID_TYPES
from phenolip.phenokg.articles.jats_text import flat_text
from phenolip.phenokg.licenses import read_license
from phenolip.phenokg.records import License, TypedText

_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_PMCID = re.compile(r"(?:PMC)?0*([1-9][0-9]{0,8})(?:\.([1-9][0-9]{0,3}))?", re.IGNORECASE)
_PMCID_IN_PATH = re.compile(r"PMC([1-9][0-9]{0,8})(?:\.([1-9][0-9]{0,3}))?(?=$|[/_.-])", re.IGNORECASE)
_PMC_VERSION_PATH = ".//article-version[@article-version-type='pmc-version']"
_DOI_PREFIX = re.compile(r"(?:https?://)?(?:dx\.)?(?:doi\.org/|doi:)\s*", re.IGNORECASE)
_ISO_DATE = re.compile(r"([0-9]{4})(?:-([01][0-9]))?(?:-([0-3][0-9]))?")
_YEAR = re.compile(r"(?<![0-9])(?:1[5-9]|20)[0-9]{2}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NOT_PUBLICATION = re.compile(
    r"submitted|release|received|accepted|rev|correct|retract|withdrawn|embargo", re.IGNORECASE
)
_JOURNAL_PATHS = (".//journal-title", ".//abbrev-journal-title", ".//journal-id[@journal-id-type='nlm-ta']")
_NOTES = ("fn", "xref")
_FIGURES = ("fig", "fig-group")


def href(element: etree._Element) -> str | None:
    """The `xlink:href`, also without prefix or with one that was never declared."""
    address = element.get(_XLINK_HREF)
    if address is not None:
        return address
    return next((value for name, value in element.attrib.items() if re.split("[:}]", name)[-1] == "href"), None)


def read_ids(meta: etree._Element, path: str) -> dict[str, object]:
    """Fields `pmcid`, `version`, `pmid`, `doi` and `other_ids`; a folder or file such as PMC123.2 may fill gaps."""
    given = [(element.get("pub-id-type") or "", flat_text(element)) for element in meta.iterchildren("article-id")]
    given = [(kind, text) for kind, text in given if text]
    pmcid, version = _read_pmcid(given, path)
    stated = meta.findtext(_PMC_VERSION_PATH, "")
    if pmcid and version is None and re.fullmatch("[1-9][0-9]{0,3}", stated.strip()):
        version = int(stated)
    pmids = [text for kind, text in given if kind == "pmid"]
    pmid = next((match[0] for text in pmids if (match := re.search("[1-9][0-9]{0,8}", text))), None)
    dois = [_DOI_PREFIX.sub("", text, count=1).lower() for kind, text in given if kind == "doi"]
    used = {*PMCID_TYPES, "pmid"}
    other = [TypedText(kind, text) for kind, text in given if kind not in used | {"doi"}]
    other += [TypedText("doi", doi) for doi in dois[1:]]
    return {
        "pmcid": pmcid,
        "version": version,
        "pmid": pmid,
        "doi": dois[0] if dois else None,
        "other_ids": tuple(other),
    }


def read_dates(meta: etree._Element) -> tuple[str | None, tuple[TypedText, ...]]:
    """The earliest publication date, and every date with its kind."""
    published, dates = [], []
    for element in meta.iter("pub-date", "date"):
        if (date := _read_date(element)) is None:
            continue
        kind = element.get("pub-type") or "-".join(
            filter(None, (element.get("date-type"), element.get("publication-format")))
        )
        dates.append(TypedText(kind, date))
        if element.tag == "pub-date" and not _NOT_PUBLICATION.search(kind):
            published.append(date)
    # "2014" is no earlier than a day of 2014: it is the same date, less exact.
    return min(published, key=lambda date: f"{date}-99-99", default=None), tuple(dates)


def read_journal(front: etree._Element) -> str:
    """Full title of the journal, else a short one; empty if there is none."""
    found = (element for path in _JOURNAL_PATHS if (element := front.find(f"journal-meta/{path}")) is not None)
    return next(filter(None, map(flat_text, found)), "")


def read_title(meta: etree._Element) -> str:
    """Title without its notes."""
    title = meta.find(".//article-title")
    return "" if title is None else flat_text(title, skip=_NOTES)


def read_abstract(meta: etree._Element) -> str:
    """The article's own abstract; one of another kind, such as a summary, or a translation, only where it has none."""
    abstracts = list(meta.iterchildren("abstract"))
    plain = [abstract for abstract in abstracts if not abstract.get("abstract-type")]
    plain = [abstract for abstract in plain if abstract.get(_XML_LANG) == plain[0].get(_XML_LANG)]
    for choice in (plain, *([other] for other in (*abstracts, *meta.iterchildren("trans-abstract")))):
        if text := " ".join(filter(None, map(_abstract_text, choice))):
            return text
    return ""


def read_permissions(elements: Iterable[etree._Element]) -> License:
    """The licence in `permissions`, or in the `license` and `copyright-statement` of older articles."""
    texts, urls = [], []
    for holder in elements:
        licenses = list(holder.iter("license"))
        for element in licenses:
            texts.append(flat_text(element, skip=("license_ref",)))
            urls += _addresses(element)
        texts += [flat_text(element) for element in holder.iter("copyright-statement")] if not licenses else []
        urls += [flat_text(element) for element in holder.iter("license_ref")]
    kinds = [
        kind for holder in elements for element in holder.iter("license") if (kind := element.get("license-type"))
    ]
    license = read_license(" ".join(filter(None, texts)), dict.fromkeys(urls))
    if license.category == "unknown" and kinds:
        named = read_license(" ".join(kinds))
        return License(named.category, named.spdx, license.text, license.url)
    return license


def _read_pmcid(given: list[tuple[str, str]], path: str) -> tuple[str | None, int | None]:
    matches = [
        match for wanted in PMCID_TYPES for kind, text in given if kind == wanted and (match := _PMCID.fullmatch(text))
    ]
    # The last part of the path that looks like an id is the closest to the file.
    matches += list(_PMCID_IN_PATH.finditer(path))[::-1]
    if not matches:
        return None, None
    digits = matches[0][1]
    versions = [int(match[2]) for match in matches if match[1] == digits and match[2]]
    return f"PMC{digits}", versions[0] if versions else None


def _read_date(element: etree._Element) -> str | None:
    if match := _ISO_DATE.match(element.get("iso-8601-date") or ""):
        return "-".join(filter(None, match.groups()))
    parts = {name: element.findtext(name, "").strip() for name in ("year", "month", "day")}
    if not re.fullmatch("[0-9]{4}", parts["year"]):
        match = _YEAR.search(flat_text(element))
        return match[0] if match else None
    month, day = _month(parts["month"]), parts["day"].zfill(2)
    if month is None:
        return parts["year"]
    return f"{parts['year']}-{month:02d}" + (f"-{day}" if re.fullmatch("0[1-9]|[12][0-9]|3[01]", day) else "")


def _month(text: str) -> int | None:
    """A month from its number or its English name; of a span, none."""
    if re.fullmatch("0?[1-9]|1[0-2]", text):
        return int(text)
    is_name = re.fullmatch("[A-Za-z]{3,9}\\.?", text) and text[:3].lower() in _MONTHS
    return _MONTHS.index(text[:3].lower()) + 1 if is_name else None


def _abstract_text(abstract: etree._Element) -> str:
    """Text without figures and without the heading "Abstract"; headings of sections stay."""
    parts = [child for child in abstract if child.tag not in ("label", "title", "object-id", *_FIGURES)]
    return " ".join(filter(None, (flat_text(part, skip=_FIGURES) for part in parts)))


def _addresses(license: etree._Element) -> Iterator[str]:
    for element in license.iter(etree.Element):
        if address := href(element):
            yield address
