"""Which objects of the bucket make up a version of an article, and which of them are fetched."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from phenolip.phenokg.articles.article_folder import folded, why_unsafe
from phenolip.phenokg.articles.article_ids import STEP
from phenolip.phenokg.articles.article_metadata import ArticleMetadata
from phenolip.phenokg.articles.bucket import StoredObject
from phenolip.phenokg.records import ArticleId, Drop

_MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What of a version is fetched, and what is not.

    Attributes:
        xml: The article.
        media: In the order of their names.
        num_other_files: Objects that were not asked for.
        drops: Objects that were asked for, and why they are left out.
    """

    xml: StoredObject
    media: tuple[StoredObject, ...]
    num_other_files: int
    drops: tuple[Drop, ...]


def name_of(key: str) -> str:
    """Of an object within its version: all behind the first slash."""
    return key.partition("/")[2]


def by_version(pmcid: str, objects: list[StoredObject]) -> dict[int, list[StoredObject]]:
    """Objects of an article by version; keys of another form are no part of it."""
    pattern = re.compile(re.escape(pmcid) + r"\.([1-9][0-9]{0,3})/.+", re.DOTALL)
    found: dict[int, list[StoredObject]] = {}
    for stored in objects:
        if match := pattern.fullmatch(stored.key):
            found.setdefault(int(match[1]), []).append(stored)
    return found


def plan_fetch(
    article: ArticleId,
    listed: list[StoredObject],
    metadata: ArticleMetadata,
    suffixes: tuple[str, ...],
    max_bytes: int,
) -> FetchPlan | Drop:
    """Choose among the objects of a version: its XML, and media that end in one of `suffixes` (lower case)."""
    keys = {stored.key: stored for stored in listed}
    xml = keys.get(f"{article}/{article}.xml") or _named(metadata.xml_key or "", keys)
    if xml is None or why_unsafe(name_of(xml.key)):
        return Drop(STEP, str(article), "no_xml", f"The bucket has no {article}.xml.")
    if xml.num_bytes > max_bytes:
        return Drop(STEP, str(article), "too_large", f"Its XML has {xml.num_bytes} bytes, above {max_bytes}.")
    own = {xml.key, f"{article}/{article}.json"}
    taken = {folded(name_of(key)) for key in own}
    media, drops, num_others = [], [], 0
    for key, stored in sorted(keys.items()):
        if key in own:
            continue
        if not key.lower().endswith(suffixes):
            num_others += 1
        elif refused := _refused(stored, taken, max_bytes):
            drops.append(Drop(STEP, _shown(key), *refused))
        else:
            taken.add(folded(name_of(key)))
            media.append(stored)
    for key in metadata.media_keys:
        if unquote(key).lower().endswith(suffixes) and not _named(key, keys):
            drops.append(Drop(STEP, _shown(key), "not_found", "The metadata name it, and the bucket lacks it."))
    return FetchPlan(xml, tuple(media), num_others, tuple(drops))


def _named(key: str, keys: dict[str, StoredObject]) -> StoredObject | None:
    """The object that an address of the metadata means, which may be percent-encoded."""
    return keys.get(key) or keys.get(unquote(key))


def _refused(stored: StoredObject, taken: set[str], max_bytes: int) -> tuple[str, str] | None:
    """Why a media object is left out: reason and sentence."""
    name = name_of(stored.key)
    if why := why_unsafe(name):
        return "unsafe_name", f"Its name cannot be that of a file: {why}."
    if folded(name) in taken:
        return "name_collision", "Another file of the article has this name but for case."
    if stored.num_bytes > max_bytes:
        return "too_large", f"It has {stored.num_bytes} bytes, above {max_bytes}."
    return None


def _shown(key: str) -> str:
    return key if not why_unsafe(name_of(key)) else repr(key)[:_MAX_SHOWN]
