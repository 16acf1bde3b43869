"""One `fig` of a JATS article: label, caption, graphics, kind and its own licence."""

import re
from collections.abc import Iterator

from lxml import etree

from phenolip.phenokg.articles.jats_front import href, read_permissions
from phenolip.phenokg.articles.jats_text import flat_text
from phenolip.phenokg.licenses import read_license
from phenolip.phenokg.records import Figure, FigureKind, License

# Of two that apply, the first: a figure of the supplement of a translation is a supplement.
_KINDS: tuple[tuple[frozenset[str], FigureKind], ...] = (
    (frozenset(("supplementary-material",)), "supplementary"),
    (frozenset(("sub-article", "response")), "sub-article"),
    (frozenset(("floats-group", "floats-wrap")), "floats"),
    (frozenset(("back",)), "back"),
    (frozenset(("front",)), "front"),
)
_LOOSE_CAPTION = ("title", "p", "legend")  # directly in the figure, before there was `caption`
_REUSE = re.compile(r"\b(?:reproduced|reprinted|republished|adapted|modified|used)\b[^.]{0,120}\bpermission\b", re.I)
_REUSE_STEM = "permission"
_MAX_SENTENCE = 300
_RIGHTS = re.compile(r"permission|copyright|©|\(c\)|reproduced|reprinted|rights reserved|\bcc\b", re.IGNORECASE)


def read_figure(fig: etree._Element, place: int) -> tuple[Figure, int]:
    """A figure without its citing paragraphs, and how many of its graphics have no address.

    The caption is the text of every `caption` that is the figure's own, not that of a figure inside it.

    Args:
        fig: The element.
        place: Of the figure in the article, from 1; names it if it has no id.
    """
    captions = [element for element in _own(fig) if element.tag == "caption" and _is_outermost(element, fig)]
    captions = captions or [child for child in fig if child.tag in _LOOSE_CAPTION]
    titles = [title for part in captions for title in ([part] if part.tag == "title" else part.iterchildren("title"))]
    caption = _joined(captions)
    graphics = [href(element) for element in _own(fig) if element.tag == "graphic"]
    label = fig.find("label")
    figure = Figure(
        id=fig.get("id") or f"fig-{place}",
        label="" if label is None else flat_text(label),
        caption_title=_joined(titles),
        caption=caption,
        graphics=tuple(address for address in graphics if address),
        group_caption=group_text(fig, "caption"),
        kind=_kind(fig),
        license=_license(fig, caption),
    )
    return figure, len(graphics) - len(figure.graphics)


def group_text(fig: etree._Element, name: str) -> str:
    """Text of a child of the closest `fig-group` around a figure; empty if there is none."""
    group = next(fig.iterancestors("fig-group"), None)
    child = None if group is None else group.find(name)
    return "" if child is None else flat_text(child, skip=("fig",))


def _own(fig: etree._Element) -> Iterator[etree._Element]:
    """Elements inside a figure and not inside another one within it, in document order."""
    waiting = list(fig)[::-1]
    while waiting:
        element = waiting.pop()
        if element.tag != "fig" and isinstance(element.tag, str):
            yield element
            waiting += list(element)[::-1]


def _is_outermost(caption: etree._Element, fig: etree._Element) -> bool:
    """Whether no other caption, or table, lies between a caption and its figure."""
    for ancestor in caption.iterancestors():
        if ancestor is fig:
            return True
        if ancestor.tag in ("caption", "table-wrap", "supplementary-material", "media"):
            return False
    raise AssertionError("a caption stands in its figure")


def _joined(elements: list[etree._Element]) -> str:
    return " ".join(filter(None, (flat_text(element, skip=("fig",)) for element in elements)))


def _kind(fig: etree._Element) -> FigureKind:
    around = {ancestor.tag for ancestor in fig.iterancestors()}
    is_supplement = any(
        ancestor.get("sec-type") == "supplementary-material" for ancestor in fig.iterancestors("sec", "app")
    )
    return "supplementary" if is_supplement else next((kind for tags, kind in _KINDS if tags & around), "body")


def _license(fig: etree._Element, caption: str) -> License | None:
    """What the figure's `permissions` say, else a credit or a sentence of the caption that speaks of rights."""
    own = list(_own(fig))
    if permissions := [element for element in own if element.tag == "permissions"]:
        return read_permissions(permissions)
    credits = " ".join(flat_text(element) for element in own if element.tag in ("attrib", "copyright-statement"))
    if _RIGHTS.search(credits):
        return read_license(credits)
    if _REUSE_STEM in caption and (reuse := _REUSE.search(caption)):
        start = caption.rfind(".", 0, reuse.start()) + 1
        end = caption.find(".", reuse.end()) + 1 or len(caption)
        return read_license(caption[start:end][:_MAX_SENTENCE])
    return None
