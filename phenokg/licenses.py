"""Licence statements and addresses of articles and figures, read as records: what they allow, and their SPDX id."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from phenolip.phenokg.records import License, LicenseCategory

_TERMS = {
    "by": r"attribution",
    "nc": r"non[\s-]*commercial(?:[\s-]+use)?",
    "nd": r"no[\s-]*deriv\w*(?:\s+works?)?",
    "sa": r"share[\s-]*alike",
}
_ANY_TERM = "|".join(_TERMS.values())
_VERSION = r"(?P<version>[1-4]\.[05])"
_URL = re.compile(
    rf"creativecommons\.org/(?P<kind>licen[sc]es|publicdomain)/(?P<code>[a-z+-]+)(?:/{_VERSION})?(?P<igo>/igo)?"
)
_CODE = re.compile(
    rf"\bcc[\s:-]*(?P<code>by(?:[\s/,-]*(?:nc|nd|sa)(?![a-z]))*)(?![a-z])[\s:,/-]*(?:v(?:ersion|\.)?\s*)?{_VERSION}?"
)
_NAME = re.compile(
    rf"(?P<commons>creative\s+commons\W+)?(?P<terms>(?:{_ANY_TERM})(?:[\s,/&-]+(?:and\s+)?(?:{_ANY_TERM}))*)"
    rf"(?:\W+(?:generic|international|unported|public|licen[sc]e|version|v\.?))*\W*{_VERSION}?"
)
_CC0 = re.compile(r"\bcc[\s-]*(?:0|zero)\b|public domain dedication")
_PUBLIC_DOMAIN = re.compile(r"(?<!not in the )\bpublic domain\b")
_OPEN_GOVERNMENT = re.compile(r"open[\s-]government[\s-]licen[sc]e(?:\W+v?(?:ersion\W+)?(?P<version>[1-3])(?:\.0)?)?")
_NONCOMMERCIAL_USE = re.compile(r"(?:permi|allow|free|may be)[^.]{0,200}?(?<!commercial and )\bnon[\s-]*commercial")
_ANY_USE = re.compile(r"unrestricted use|free of all copyright")
_PUBLIC_DOMAIN_IDS = {"zero": "CC0", "mark": "CC-PDM", "publicdomain": "CC-PDDC"}
_STRICTNESS = {"by": 1, "sa": 2, "nc": 4, "nd": 8}
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_MAX_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class _Named:
    """A licence that a statement names, its version empty where it gives none."""

    name: str
    version: str = ""
    strictness: int = 0

    @property
    def category(self) -> LicenseCategory:
        if self.strictness & _STRICTNESS["nd"]:
            return "no-derivatives"
        return "non-commercial" if self.strictness & _STRICTNESS["nc"] else "commercial"


def read_license(text: str, urls: Iterable[str] = ()) -> License:
    """The licence that a statement and its addresses name; of several the strictest.

    "CC-BY" without a number stands for a licence whose version is not given. A statement that allows any use, or any
    non-commercial use, without naming a licence has a category and no SPDX id; one that is not understood is unknown.

    Example:
        >>> read_license("", ["https://creativecommons.org/licenses/by-nd-nc/4.0/"]).spdx
        'CC-BY-NC-ND-4.0'
    """
    text = " ".join(text.split())
    urls = [url.strip() for url in urls if url.strip()]
    plain = "\n".join([*urls, text])[:_MAX_CHARACTERS].lower().translate(_DASHES)
    url = next((url for url in urls if "creativecommons" in url.lower()), urls[0] if urls else "")
    named = max(_named(plain), key=lambda named: (named.strictness, named.version), default=None)
    if named is not None:
        return License(named.category, "-".join(filter(None, (named.name, named.version))) or None, text, url)
    if _NONCOMMERCIAL_USE.search(plain):
        return License("non-commercial", None, text, url)
    return License("commercial" if _ANY_USE.search(plain) else "unknown", None, text, url)


def _named(plain: str) -> Iterator[_Named]:
    for match in _URL.finditer(plain):
        version = (match["version"] or "") + ("-IGO" if match["igo"] else "")
        if name := _PUBLIC_DOMAIN_IDS.get(match["code"]):
            yield _Named(name, version)
        elif match["kind"] != "publicdomain":
            yield from _creative_commons(re.split(r"[+-]", match["code"]), version)
    for match in _CODE.finditer(plain):
        yield from _creative_commons(re.findall("by|nc|nd|sa", match["code"]), match["version"])
    for match in _NAME.finditer(plain):
        terms = [code for code, word in _TERMS.items() if re.search(word, match["terms"])]
        # A single word may belong to any sentence: "with attribution", "for non-commercial use".
        if match["commons"] or "by" in terms and len(terms) > 1:
            yield from _creative_commons(["by", *terms], match["version"])
    if _CC0.search(plain):
        yield _Named("CC0", "1.0")
    if match := _OPEN_GOVERNMENT.search(plain):
        yield _Named("OGL-UK", f"{match['version']}.0" if match["version"] else "")
    if _PUBLIC_DOMAIN.search(plain):
        yield _Named("")
    if re.search(r"unrestricted non[\s-]*commercial", plain):  # beside the name of a licence that allows more
        yield _Named("", strictness=_STRICTNESS["nc"])


def _creative_commons(terms: Iterable[str], version: str | None) -> Iterator[_Named]:
    """Terms in the order of SPDX; those of the first version, which lacked "by" in some, included."""
    known = [term for term in ("by", "nc", "nd", "sa") if term in terms]
    if known:
        yield _Named("-".join(["CC", *map(str.upper, known)]), version or "", sum(_STRICTNESS[term] for term in known))
