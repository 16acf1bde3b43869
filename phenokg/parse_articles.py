"""JATS articles as records: figures with captions, citing paragraphs and licences; ids, journal, dates, abstract.

Read are PMC's exports old and new, and the layouts of eLife, PLOS, F1000, SciELO and of bioRxiv's packages: with
namespace or without, alone or in a wrapper. Decided where publishers differ:

- Every `fig` is a figure, wherever it stands; one without id is called by its place. Each `graphic` belongs to the
  closest figure around it; an `inline-graphic` is a sign in a text, not a picture.
- The figures of translations, reviews and replies (`sub-article`, `response`) are figures of the article, marked so.
- A figure whose caption is above the limit, and a graphic without address, are Drops that precede their article.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from lxml import etree

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.articles.article_xml import STEP, UnreadableError, read_article_trees
from phenolip.phenokg.articles.citing_paragraphs import FigureText, find_citing_paragraphs
from phenolip.phenokg.articles.jats_figures import group_text, read_figure
from phenolip.phenokg.articles.jats_front import (
    read_abstract,
    read_dates,
    read_ids,
    read_journal,
    read_permissions,
    read_title,
)
from phenolip.phenokg.records import Article, ArticleFile, Drop, Figure

_MAX_TREE_DEPTH = 255  # what libxml2 reads


@dataclass(frozen=True, kw_only=True)
class ParseConfig:
    """Bounds of the work on one file.

    Attributes:
        max_bytes: Largest file read; memory stays below 40 times as much.
        max_depth: How deep elements may nest.
        timeout_s: Time after which a file is left, in seconds.
        max_caption_characters: Longest caption; a figure with a longer one is left out.
        max_article_characters: Of all captions and citing paragraphs together; above it the article is left out.
    """

    max_bytes: int = 32_000_000
    max_depth: int = 200
    timeout_s: float = 60.0
    max_caption_characters: int = 50_000
    max_article_characters: int = 20_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigurationError(f"`{field.name}` must be above 0, got {getattr(self, field.name)}.")
        if self.max_depth > _MAX_TREE_DEPTH:
            raise ConfigurationError(f"`max_depth` must be at most {_MAX_TREE_DEPTH}, got {self.max_depth}.")


def run(records: Iterable[ArticleFile | Drop], config: ParseConfig) -> Iterator[Article | Drop]:
    """Parse articles, in their order; drops among the files are handed on.

    A file that cannot be read is one Drop with its reason: "broken_xml", "encoding", "entity", "too_large",
    "too_deep", "too_slow", "empty", "not_jats", "unreadable" or "outside_folder". A file that wraps several articles
    yields each.
    """
    for record in records:
        if isinstance(record, Drop):
            yield record
            continue
        try:
            yield from _parse_file(record, config)
        except UnreadableError as error:
            reason, detail = error.args
            yield Drop(STEP, record.path, reason, detail)


def _parse_file(file: ArticleFile, config: ParseConfig) -> list[Article | Drop]:
    end = time.monotonic() + config.timeout_s

    def check() -> None:
        if time.monotonic() > end:
            raise UnreadableError("too_slow", f"It takes longer than {config.timeout_s} seconds.")

    trees = read_article_trees(file, max_bytes=config.max_bytes, max_depth=config.max_depth)
    parsed: list[Article | Drop] = []
    for place, root in enumerate(trees.roots, 1):
        check()
        name = file.path if len(trees.roots) == 1 else f"{file.path}#{place}"
        parsed += _parse_article(root, file.path, name, trees.sha256, config, check)
    return parsed


def _parse_article(
    root: etree._Element, source: str, name: str, sha256: str, config: ParseConfig, check: Callable[[], None]
) -> list[Article | Drop]:
    front = root.find("front")
    front = front if front is not None else etree.Element("front")
    meta = front.find("article-meta")
    meta = meta if meta is not None else etree.Element("article-meta")
    ids = read_ids(meta, source)
    pmcid, version = ids["pmcid"], ids["version"]
    article_id = (f"{pmcid}.{version}" if version else pmcid) or ids["doi"] or name
    figures, drops = _parse_figures(root, article_id, config, check)
    published, dates = read_dates(meta)
    article = Article(
        article_id=article_id,
        source=source,
        sha256=sha256,
        title=read_title(meta),
        journal=read_journal(front),
        license=read_permissions(meta.findall("permissions") or [meta]),
        figures=tuple(figures),
        article_type=root.get("article-type") or "",
        published=published,
        dates=dates,
        abstract=read_abstract(meta),
        **ids,
    )
    return [*drops, article]


def _parse_figures(
    root: etree._Element, article_id: str, config: ParseConfig, check: Callable[[], None]
) -> tuple[list[Figure], list[Drop]]:
    """Figures of an article, and what is left out of them."""
    elements = list(root.iter("fig"))
    figures, drops = [], []
    for place, element in enumerate(elements, 1):
        check()
        figure, num_nameless = read_figure(element, place)
        key = f"{article_id}/{figure.id}"
        drops += [Drop(STEP, key, "no_address", "A graphic has no href.")] * num_nameless
        figures.append(figure)
    texts = [
        FigureText(element, figure.label, figure.caption, group_text(element, "label"))
        for element, figure in zip(elements, figures, strict=True)
    ]
    citing = find_citing_paragraphs(root, texts, check)
    _check_size(figures, citing, config.max_article_characters)
    kept = []
    for figure, paragraphs in zip(figures, citing, strict=True):
        if len(figure.caption) + len(figure.group_caption) > config.max_caption_characters:
            detail = f"Its caption is longer than {config.max_caption_characters} characters."
            drops.append(Drop(STEP, f"{article_id}/{figure.id}", "caption_too_long", detail))
        else:
            kept.append(replace(figure, citing_paragraphs=paragraphs))
    return kept, drops


def _check_size(figures: Sequence[Figure], citing: Sequence[tuple[str, ...]], max_characters: int) -> None:
    """A long paragraph that cites thousands of figures is small in memory, and terabytes when written."""
    captions = sum(len(figure.caption) + len(figure.group_caption) for figure in figures)
    if captions + sum(len(text) for paragraphs in citing for text in paragraphs) > max_characters:
        detail = f"Captions and citing paragraphs have more than {max_characters} characters."
        raise UnreadableError("too_large", detail)
