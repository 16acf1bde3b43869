"""XML files of articles: found in a folder, and read without network, entities or unbounded work."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from lxml import etree

from phenolip.exceptions import DataError
from phenolip.floors import require_floor
from phenolip.phenokg.articles.jats_text import MATHML, is_standard_entity
from phenolip.phenokg.records import ArticleFile, Drop

STEP = "parse_articles"
SUFFIXES = (".xml", ".nxml")
_SNIFFED_BYTES = 65_536  # a document type with its declarations fits in
# What repositories wrap articles in; any other root is not looked into.
_WRAPPERS = {"pmc-articleset", "articles", "OAI-PMH", "GetRecord", "ListRecords", "record", "metadata"}
_PARTS = {"front", "body", "back", "floats-group", "floats-wrap", "sub-article", "response"}


class UnreadableError(Exception):
    """A file holds no article that can be read; the arguments are a Drop's reason and detail."""


@dataclass(frozen=True, slots=True)
class ArticleTrees:
    """What a file holds.

    Attributes:
        sha256: Of the file.
        roots: The `article` elements, tags without namespace except MathML's, no comments.
    """

    sha256: str
    roots: tuple[etree._Element, ...]


def find_articles(folder: str | Path) -> Iterator[ArticleFile | Drop]:
    """Every .xml and .nxml file below a folder that may hold an article, ordered by path; no link is followed.

    A file whose root element shows that it holds none is a Drop, "not_jats"; whether the others can be read is found
    out when they are.

    Raises:
        DataError: If the folder, or one below it, cannot be listed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"Folder of articles {root} does not exist.")
    for path in _xml_paths(root):
        name = path.relative_to(root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            yield Drop(STEP, ascii(name), "bad_name", "The file's name is not UTF-8.")
            continue
        if path.is_symlink():
            yield Drop(STEP, name, "link", "Links are not followed.")
        elif path.is_file() and (found := _other_root(path)):
            yield Drop(STEP, name, "not_jats", f"The root element is {found[:80]!r}, not 'article'.")
        else:
            yield ArticleFile(str(root), name)


def read_article_trees(file: ArticleFile, *, max_bytes: int, max_depth: int) -> ArticleTrees:
    """Read the articles of a file; usually there is one.

    Raises:
        UnreadableError: If there is none, or a bound is exceeded.
    """
    data = _read(file, max_bytes)
    root = _parse(data)
    if etree.XPath("boolean(/" + "/".join("*" * (max_depth + 1)) + ")")(root):
        raise UnreadableError("too_deep", f"Elements nest deeper than {max_depth}.")
    _check_entities(root)
    for element in root.iter(etree.Element):
        if element.tag.startswith("{") and not element.tag.startswith(MATHML):
            name = element.tag.rpartition("}")[2]
            if ":" not in name:  # a second colon is an error that does not end the reading
                element.tag = name
    roots = [root] if root.tag == "article" else root.iter("article") if root.tag in _WRAPPERS else []
    roots = tuple(article for article in roots if any(child.tag in _PARTS for child in article))
    if not roots:
        raise UnreadableError("not_jats", f"The root element {root.tag[:80]!r} holds no article.")
    return ArticleTrees(hashlib.sha256(data).hexdigest(), roots)


def _xml_paths(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"Folder of articles {folder} cannot be listed: {error.strerror}.") from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _xml_paths(Path(entry.path))
        elif entry.name.lower().endswith(SUFFIXES) or entry.is_symlink() and entry.is_dir():
            yield Path(entry.path)


def _other_root(path: Path) -> str | None:
    """The root element, if it is certain that no article is below it."""
    parser = etree.XMLPullParser(("start",), load_dtd=False, no_network=True, resolve_entities=False, recover=True)
    try:
        with path.open("rb") as file:
            parser.feed(file.read(_SNIFFED_BYTES))
        _, element = next(iter(parser.read_events()))
    except (OSError, etree.XMLSyntaxError, StopIteration):
        return None
    namespace, _, name = element.tag.rpartition("}")
    if name in {"article", *_WRAPPERS} and "docbook" not in namespace:
        return None
    return element.tag


def _read(file: ArticleFile, max_bytes: int) -> bytes:
    root = os.path.realpath(file.root)
    path = os.path.join(root, file.path)
    if os.path.realpath(path) != os.path.normpath(path) or os.path.commonpath([root, os.path.realpath(path)]) != root:
        raise UnreadableError("outside_folder", "The path leads out of the folder, or through a link.")
    try:
        status = os.stat(path)
        if not S_ISREG(status.st_mode):
            raise UnreadableError("unreadable", "It is not a plain file.")
        if status.st_size > max_bytes:
            raise UnreadableError("too_large", f"It has {status.st_size} bytes, of which {max_bytes} may be.")
        with open(path, "rb") as opened:
            data = opened.read(max_bytes)
    except OSError as error:
        raise UnreadableError("unreadable", f"It cannot be read: {error.strerror}.") from None
    if not data.strip():
        raise UnreadableError("empty", "It is empty.")
    return data


def _parse(data: bytes) -> etree._Element:
    require_floor("lxml")
    # With `recover`, a prefix without namespace is noted and no more; what breaks the XML is looked for below.
    parser = etree.XMLParser(
        load_dtd=False,
        no_network=True,
        resolve_entities=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        root = None
    for error in parser.error_log:
        if error.level == etree.ErrorLevels.FATAL:
            raise UnreadableError(_reason(error), f"Line {error.line}: {' '.join(error.message[:200].split())}.")
    if root is None:
        raise UnreadableError("broken_xml", "It holds no element.")
    return root


def _reason(error: etree._LogEntry) -> str:
    if error.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        message = error.message.lower()
        return "entity" if "entity" in message else "too_deep" if "depth" in message else "too_large"
    if error.type in (etree.ErrorTypes.ERR_ENTITY_LOOP, etree.ErrorTypes.ERR_LT_IN_ATTRIBUTE):
        return "entity"
    return "encoding" if "ENCODING" in error.type_name else "broken_xml"


def _check_entities(root: etree._Element) -> None:
    """Refuse what the file itself declares: no publisher needs it, and all attacks do."""
    document_type = root.getroottree().docinfo.internalDTD
    declared = {entity.name for entity in document_type.iterentities()} if document_type is not None else set()
    for entity in root.iter(etree.Entity) if declared else ():
        if entity.name in declared and not is_standard_entity(entity.name):
            raise UnreadableError("entity", f"It uses an entity of its own, {entity.name[:80]!r}.")
