"""Articles of PubMed Central's bucket, with figures and licence: fetched once, whole, and never again.

The bucket `pmc-oa-opendata` (us-east-1, read without an account) took the place of PMC's packages in August 2026.
Its layout, from PMC's pages and from public programs that read it, not checked against the bucket itself:

- a version of an article is a prefix, `PMC<id>.<version>/`, of single objects: the article `PMC<id>.<version>.xml`,
  text, PDF, media where the licence permits, and `PMC<id>.<version>.json`, of which `metadata/` has a copy;
- the JSON gives `pmcid`, `version`, `pmid`, `doi`, `license_code` ("CC BY", "CC0", "CC BY-NC", "TDM"), `is_retracted`,
  `is_manuscript`, `is_pmc_openaccess`, and `xml_url` and `media_urls`, addresses that end in `?md5=` and a checksum;
- a higher version is not always the better one: `is_manuscript` tells an author's copy from the published article.

An article costs one request that lists its versions with sizes and checksums, and one for each file: metadata, XML,
every figure. The layout allows no less than one a file.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tqdm.auto import tqdm

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.articles.article_folder import ArticleFolder
from phenolip.phenokg.articles.article_ids import STEP, parse_article_id
from phenolip.phenokg.articles.article_metadata import ABSENT, ArticleMetadata, read_metadata
from phenolip.phenokg.articles.article_objects import by_version, name_of, plan_fetch
from phenolip.phenokg.articles.bucket import (
    RETRIED,
    Bucket,
    BucketConfig,
    Digests,
    ObjectError,
    StoredObject,
    digest_file,
)
from phenolip.phenokg.records import ArticleId, Drop, FetchedArticle, FetchedFile

_MAX_OBJECTS = 20_000  # of one article, all versions together
_MAX_METADATA_BYTES = 4_000_000
_IDS_PER_WORKER = 4  # read ahead, so that one slow article does not idle the others


@dataclass(frozen=True, kw_only=True)
class FetchConfig(BucketConfig):
    """What is fetched, and where to.

    Attributes:
        folder: Of all articles; one run at a time.
        media_suffixes: Endings of the media wanted, with their dot, whatever their case.
        xml_only: Fetch no media.
        licenses: Licence codes wanted, such as "CC BY"; case, hyphens and version numbers do not count. Others are
            dropped before their article and media are fetched. Empty takes every licence, also none.
        keep_retracted: Also take articles that were withdrawn.
        max_bytes: Largest object taken.
        max_failures: Articles in a row that the bucket fails to give before the run ends.
        refresh: Ask for a higher version of articles that are complete.
        progress: Show a bar on stderr; None shows it on a terminal only.
    """

    folder: str | Path
    media_suffixes: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".gif", ".tif", ".tiff")
    xml_only: bool = False
    licenses: tuple[str, ...] = ()
    keep_retracted: bool = False
    max_bytes: int = 200_000_000
    max_failures: int = 20
    refresh: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for suffix in self.media_suffixes:
            if not re.fullmatch(r"\.[A-Za-z0-9]{1,10}", suffix):
                raise ConfigurationError(f"`media_suffixes` must be like '.jpg', got {suffix!r}.")
        for name in ("max_bytes", "max_failures"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for code in self.licenses:
            if not _license_key(code):
                raise ConfigurationError(f"`licenses` must be codes like 'CC BY', got {code!r}.")


def run(records: Iterable[ArticleId | Drop], config: FetchConfig) -> Iterator[FetchedArticle | Drop]:
    """Fetch articles, in the order of their ids; drops among the ids are handed on.

    After an article come the Drops of those of its files that were left out. An article that the bucket failed to give
    (`bucket.RETRIED`) stays open: another run fetches what is missing. Memory grows by some 100 bytes an article.

    Raises:
        ConfigurationError: If the folder is in use.
        DataError: If there is no such bucket, it fails `max_failures` times in a row, or the folder cannot be written.
    """
    folder = ArticleFolder(config.folder)
    seen: set[str] = set()
    failures = 0
    bar = tqdm(
        desc="Fetching articles", unit="article", disable=None if config.progress is None else not config.progress
    )
    with (
        bar,
        folder.own(),
        Bucket(config) as bucket,
        closing(_in_order(records, _Fetcher(folder, bucket, config).fetch, bucket)) as outcomes,
    ):
        for outcome in outcomes:
            article = outcome[0]
            if isinstance(article, FetchedArticle):
                if article.article_id in seen:
                    outcome = [Drop(STEP, article.article_id, "duplicate", "The ids name it more than once.")]
                seen.add(article.article_id)
            failures = failures + 1 if isinstance(article, Drop) and article.reason in RETRIED else 0
            bar.update()
            yield from outcome
            if failures >= config.max_failures:
                raise DataError(
                    f"{failures} articles in a row could not be fetched, the last because: {article.detail} "
                    "Run again later: what is here is kept."
                )


def list_articles(
    config: BucketConfig, *, prefix: str = "PMC", start_after: str = "", highest_only: bool = True
) -> Iterator[ArticleId | Drop]:
    """Every article of the bucket, in the order of its keys, a page of names in memory.

    Args:
        config: Of the bucket.
        prefix: "PMC" and the first digits.
        start_after: Article after whose versions to begin, such as the last one of an earlier listing.
        highest_only: Give the highest version of each article instead of all of them.

    Raises:
        DataError: If the bucket cannot be read.
    """
    if not re.fullmatch(r"PMC[0-9]*", prefix):
        raise ConfigurationError(f"`prefix` must be 'PMC' and digits, got {prefix!r}.")
    # "." < "/" < "0": behind the versions of one article, before those of the next
    after = f"{parse_article_id(start_after).pmcid}/" if start_after else ""
    with Bucket(config) as bucket:
        try:
            for _, names in groupby(bucket.folders(prefix, after), key=lambda name: name.partition(".")[0]):
                yield from _versions(names, highest_only)
        except ObjectError as error:
            raise DataError(f"The bucket could not be listed: {error.detail}") from None


def _versions(names: Iterator[str], highest_only: bool) -> Iterator[ArticleId | Drop]:
    """Ids of the prefixes of one article."""
    versions = []
    for name in names:
        try:
            versions.append(_version_id(name))
        except DataError as error:
            yield Drop(STEP, repr(name)[:80], "bad_id", str(error))
    versions.sort(key=lambda article: article.version)
    yield from versions[-1:] if highest_only else versions


def _version_id(name: str) -> ArticleId:
    article = parse_article_id(name)
    if article.version is None or str(article) != name:
        raise DataError(f"A prefix must look like 'PMC123.2', got {name[:40]!r}.")
    return article


def _in_order(
    records: Iterable[ArticleId | Drop], fetch: Callable[[ArticleId], list[FetchedArticle | Drop]], bucket: Bucket
) -> Iterator[list[FetchedArticle | Drop]]:
    """Outcomes in the order of the records, from a few threads, none of which has the article of another."""
    waiting: deque[tuple[str, Future | list[Drop]]] = deque()

    def first() -> list[FetchedArticle | Drop]:
        _, outcome = waiting.popleft()
        return outcome.result() if isinstance(outcome, Future) else outcome

    pool = ThreadPoolExecutor(bucket.config.concurrency, thread_name_prefix=STEP)
    try:
        for record in records:
            if isinstance(record, Drop):
                waiting.append(("", [record]))
            else:
                while any(pmcid == record.pmcid for pmcid, _ in waiting):
                    yield first()
                waiting.append((record.pmcid, pool.submit(fetch, record)))
            if len(waiting) >= _IDS_PER_WORKER * bucket.config.concurrency:
                yield first()
        while waiting:
            yield first()
    finally:
        bucket.stop()
        pool.shutdown(cancel_futures=True)


class _Fetcher:
    """One article from the bucket into the folder."""

    def __init__(self, folder: ArticleFolder, bucket: Bucket, config: FetchConfig) -> None:
        self.folder = folder
        self.bucket = bucket
        self.config = config
        self.suffixes = () if config.xml_only else tuple(sorted({suffix.lower() for suffix in config.media_suffixes}))
        self.licenses = {_license_key(code) for code in config.licenses}
        self.choices = {"bucket": config.bucket, "media": list(self.suffixes), "max_bytes": config.max_bytes}

    def fetch(self, wanted: ArticleId) -> list[FetchedArticle | Drop]:
        """An article and the Drops of its files, or the Drop of all of it."""
        with self.folder.errors():
            found = None if self.config.refresh else self.folder.complete(wanted, self.choices)
            if found is not None:
                drop = self._unwanted(found.article_id, found.license_code, found.is_retracted)
                return [drop] if drop else [found, *found.dropped_files]
            try:
                return self._fetch(wanted)
            except ObjectError as error:
                return [Drop(STEP, str(wanted), error.reason, error.detail)]

    def _fetch(self, wanted: ArticleId) -> list[FetchedArticle | Drop]:
        versions = by_version(wanted.pmcid, self.bucket.objects(f"{wanted.pmcid}.", _MAX_OBJECTS))
        version = wanted.version or max(versions, default=None)
        if version not in versions:
            return [Drop(STEP, str(wanted), "not_found", f"The bucket has no {wanted}.")]
        article = ArticleId(wanted.pmcid, version)
        metadata_file, metadata = self._metadata(article, versions[version])
        if metadata is None:
            return [Drop(STEP, str(article), "bad_metadata", "Its metadata are no JSON object, or too large a one.")]
        about = f"{metadata.pmcid or article.pmcid}.{metadata.version or version}"
        if about != str(article):
            return [Drop(STEP, str(article), "metadata_mismatch", f"Its metadata are of {about[:40]!r}.")]
        if drop := self._unwanted(str(article), metadata.license_code, metadata.is_retracted):
            return [drop]
        plan = plan_fetch(article, versions[version], metadata, self.suffixes, self.config.max_bytes)
        if isinstance(plan, Drop):
            return [plan]
        fetched = FetchedArticle(
            article_id=str(article),
            pmcid=article.pmcid,
            version=version,
            versions=tuple(sorted(versions)),
            xml=self._file(article, plan.xml, metadata),
            media=tuple(self._file(article, media, metadata) for media in plan.media),
            metadata=metadata_file,
            license_code=metadata.license_code,
            pmid=metadata.pmid,
            doi=metadata.doi,
            is_retracted=metadata.is_retracted,
            is_manuscript=metadata.is_manuscript,
            is_open_access=metadata.is_open_access,
            missing_fields=metadata.missing_fields,
            num_other_files=plan.num_other_files,
            dropped_files=plan.drops,
        )
        self.folder.finish(fetched, self.choices)
        return [fetched, *fetched.dropped_files]

    def _unwanted(self, key: str, license_code: str | None, is_retracted: bool | None) -> Drop | None:
        if is_retracted and not self.config.keep_retracted:
            return Drop(STEP, key, "retracted", "Its metadata say that it was withdrawn.")
        if self.licenses and license_code is None:
            return Drop(STEP, key, "no_license", "Its metadata name no licence.")
        if self.licenses and _license_key(license_code) not in self.licenses:
            return Drop(STEP, key, "license_not_wanted", f"Its licence is {license_code[:80]!r}.")
        return None

    def _metadata(
        self, article: ArticleId, listed: list[StoredObject]
    ) -> tuple[FetchedFile | None, ArticleMetadata | None]:
        """The metadata, as a file and read; `ABSENT` if the bucket has none, None if they cannot be read."""
        keys = (f"{article}/{article}.json", f"metadata/{article}.json")
        stored = _find(listed, keys[0]) or _find(self.bucket.objects(keys[1], _MAX_OBJECTS), keys[1])
        if stored is None:
            return None, ABSENT
        if stored.num_bytes > _MAX_METADATA_BYTES:
            return None, None
        file = self._file(article, stored, ABSENT)
        try:
            return file, read_metadata((self.folder.root / file.path).read_bytes())
        except ValueError:
            return file, None

    def _file(self, article: ArticleId, stored: StoredObject, metadata: ArticleMetadata) -> FetchedFile:
        """An object of an article on disk: from there if it is the same, else from the bucket."""
        path = self.folder.path(article) / name_of(stored.key)
        md5 = metadata.md5(stored.key)
        digests = _same_on_disk(path, stored, md5)
        if digests is None:
            partial = self.folder.partial()
            digests = self.bucket.download(stored, partial, md5)
            self.folder.keep(partial, path)
        checks = tuple(name for name, given in (("etag", stored.md5), ("metadata", md5)) if given == digests.md5)
        return FetchedFile(
            path.relative_to(self.folder.root).as_posix(),
            stored.key,
            stored.num_bytes,
            digests.sha256,
            stored.etag,
            checks,
        )


def _find(objects: list[StoredObject], key: str) -> StoredObject | None:
    return next((stored for stored in objects if stored.key == key), None)


def _same_on_disk(path: Path, stored: StoredObject, md5: str | None) -> Digests | None:
    """Digests of a file that is here already, if checksums of the bucket show that it is this object."""
    known = {checksum for checksum in (stored.md5, md5) if checksum}
    if not path.is_file() or path.stat().st_size != stored.num_bytes:
        return None
    digests = digest_file(path)
    return digests if known == {digests.md5} else None


def _license_key(code: str) -> str:
    """A licence code without what does not matter: "CC BY-NC 4.0" and "cc-by-nc" are one."""
    return re.sub(r"[\s_-]+", "-", re.sub(r"[\s-]+[0-9][0-9.]*$", "", code.strip())).upper()
