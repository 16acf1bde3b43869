"""What the metadata JSON of an article version says, read so that a field of another name or form is only missing."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

# As public programs of 2026 that read the bucket name the fields; further names in case one is renamed.
_NAMES = {
    "pmcid": ("pmcid", "pmc_id"),
    "version": ("version", "article_version"),
    "pmid": ("pmid", "pubmed_id"),
    "doi": ("doi",),
    "license_code": ("license_code", "license", "license_type"),
    "is_retracted": ("is_retracted", "retracted"),
    "is_manuscript": ("is_manuscript",),
    "is_pmc_openaccess": ("is_pmc_openaccess", "is_open_access"),
    "xml_url": ("xml_url",),
    "media_urls": ("media_urls", "media_url"),
}
_YES, _NO = {"true", "yes", "y", "1"}, {"false", "no", "n", "0"}
_URL = re.compile(r"(?:s3://[^/]+/|https?://[^/]+/)(.+?)(?:\?md5=([0-9a-fA-F]{32}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ArticleMetadata:
    """Fields of the metadata; None or empty where they are missing.

    Attributes:
        missing_fields: Names of the fields that are absent or cannot be read.
        xml_key: Key in the bucket of the article.
        media_keys: Keys of its media.
        md5_by_key: Checksums that the addresses carry.
    """

    missing_fields: tuple[str, ...]
    pmcid: str | None = None
    version: int | None = None
    pmid: str | None = None
    doi: str | None = None
    license_code: str | None = None
    is_retracted: bool | None = None
    is_manuscript: bool | None = None
    is_open_access: bool | None = None
    xml_key: str | None = None
    media_keys: tuple[str, ...] = ()
    md5_by_key: tuple[tuple[str, str], ...] = ()

    def md5(self, key: str) -> str | None:
        """The checksum given for an object, in lower case; its address may be percent-encoded."""
        return next((md5 for given, md5 in self.md5_by_key if key in (given, unquote(given))), None)


ABSENT = ArticleMetadata(tuple(_NAMES))


def read_metadata(data: bytes) -> ArticleMetadata:
    """The fields of a metadata JSON.

    Raises:
        ValueError: If it is no JSON object.
    """
    try:
        given = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(given, dict):
        raise ValueError(f"it is a {type(given).__name__}, not an object")
    found = {name: _READERS[name](_first(given, _NAMES[name])) for name in _NAMES}
    addresses = [found["xml_url"], *(found["media_urls"] or ())]
    return ArticleMetadata(
        missing_fields=tuple(name for name, value in found.items() if value is None),
        **{name: found[name] for name in ("pmcid", "version", "pmid", "doi", "license_code")},
        **{name: found[name] for name in ("is_retracted", "is_manuscript")},
        is_open_access=found["is_pmc_openaccess"],
        xml_key=found["xml_url"] and found["xml_url"][0],
        media_keys=tuple(key for key, _ in found["media_urls"] or ()),
        md5_by_key=tuple((key, md5) for key, md5 in filter(None, addresses) if md5),
    )


def _first(given: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _text(value: Any) -> str | None:
    """Text without surrounding space; a number is taken as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return value.strip().encode("utf-8", "replace").decode() or None  # a lone surrogate cannot be stored


def _number(value: Any) -> int | None:
    text = _text(value)
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else None


def _truth(value: Any) -> bool | None:
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None


def _address(value: Any) -> tuple[str, str] | None:
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    return (match[1], (match[2] or "").lower()) if match else None


def _addresses(value: Any) -> list[tuple[str, str]] | None:
    if not isinstance(value, list):
        return None
    read = [_address(item) for item in value]
    return None if None in read else read


_READERS = {
    **dict.fromkeys(("pmcid", "pmid", "doi", "license_code"), _text),
    **dict.fromkeys(("is_retracted", "is_manuscript", "is_pmc_openaccess"), _truth),
    "version": _number,
    "xml_url": _address,
    "media_urls": _addresses,
}
