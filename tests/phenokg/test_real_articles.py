"""Development articles, read once more by other means: every figure, graphic and caption, and who cites it.

The second reader is expat's event interface without namespaces, and a small tree of its own; neither lxml nor XPath.
"""

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.parsers import expat

import pytest

from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.parse_articles import ParseConfig, run
from phenolip.phenokg.records import Article

JATS = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "jats"
FILES = sorted(path for path in JATS.rglob("*") if path.suffix in (".xml", ".nxml"))
DASH = re.compile(r"\W*(?:[-\u2010-\u2014\u2212]|to|through)\W*")

pytestmark = pytest.mark.skipif(not JATS.is_dir(), reason="PHENOLIP_TEST_DATA is not set")


@dataclass(eq=False)
class Node:
    """An element; its content is text and nodes."""

    tag: str
    attributes: dict
    parent: "Node | None"
    content: list = field(default_factory=list)

    def walk(self):
        yield self
        for child in self.content:
            if isinstance(child, Node):
                yield from child.walk()

    def up(self):
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def closest(self, *tags):
        return next((node for node in self.up() if node.tag in tags), None)

    def text(self, without=()):
        parts = (child if isinstance(child, str) else child.text(without) for child in self.content)
        return "" if self.tag in without else "".join(parts)


def second_reading(path):
    """The root element."""
    root = node = Node("", {}, None)

    def start(tag, attributes):
        nonlocal node
        child = Node(tag.split(":")[-1], attributes, node)
        node.content.append(child)
        node = child

    def end(tag):
        nonlocal node
        node = node.parent

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: node.content.append(text)
    parser.Parse(path.read_bytes(), True)
    return root.content[0]


def squeezed(text):
    return "".join(text.split())


def no_text(node):
    """What no reader sees: ids of objects, and TeX where formulas are given as MathML too."""
    has_math = any(one.tag == "math" for one in node.walk())
    return ("object-id", "tex-math") if has_math else ("object-id",)


@pytest.fixture(scope="module")
def articles():
    outcomes = list(run(find_articles(JATS), ParseConfig()))
    assert len(outcomes) == len(FILES)
    return {outcome.source: outcome for outcome in outcomes if isinstance(outcome, Article)}


def pairs(articles):
    """Both readings of each article: the second one's root, its figures, and ours."""
    for path in FILES:
        root = second_reading(path)
        figures = [node for node in root.walk() if node.tag == "fig"]
        article = articles.get(path.relative_to(JATS).as_posix())
        assert (article is None) == (root.tag != "article"), path
        if article is not None:
            yield root, figures, article
        else:
            assert not figures


def test_every_graphic_of_every_figure_is_accounted_for(articles):
    num_graphics = 0
    for root, figures, article in pairs(articles):
        graphics = [node for node in root.walk() if node.tag == "graphic" and node.closest("fig")]
        expected = [
            next(value for name, value in node.attributes.items() if name.endswith("href")) for node in graphics
        ]
        assert Counter(expected) == Counter(href for figure in article.figures for href in figure.graphics)
        assert len(figures) == len(article.figures)
        for node, figure in zip(figures, article.figures, strict=True):
            assert figure.id == node.attributes.get("id", figure.id)
            own = [href for graphic, href in zip(graphics, expected, strict=True) if graphic.closest("fig") is node]
            assert list(figure.graphics) == own
        num_graphics += len(graphics)
    assert num_graphics >= 60


def test_labels_and_captions_are_whole(articles):
    for _, figures, article in pairs(articles):
        for node, figure in zip(figures, article.figures, strict=True):
            captions = [one for one in node.walk() if one.tag == "caption" and one.closest("fig", "caption") is node]
            text = "".join(one.text(no_text(one)) for one in captions)
            assert squeezed(figure.caption) == squeezed(text)
            labels = [one for one in node.content if isinstance(one, Node) and one.tag == "label"]
            assert squeezed(figure.label) == squeezed("".join(one.text() for one in labels))


def cited_by_reference(root, figures):
    """Pairs of paragraph and figure that references make, alone or with a dash or "to" between two."""
    places = defaultdict(list)
    for place, node in enumerate(figures):
        places[node.attributes.get("id")].append(place)
    paragraphs = defaultdict(list)
    for node in root.walk():
        if node.tag == "xref" and (paragraph := node.closest("p")) is not None:
            paragraphs[paragraph].append(node)
    for paragraph, references in paragraphs.items():
        targets = {
            ref: [p for rid in ref.attributes.get("rid", "").split() for p in places[rid]] for ref in references
        }
        found = {place for ref in references for place in targets[ref]}
        for one, other in pairwise(references):
            if targets[one] and targets[other] and one.parent is other.parent:
                content = one.parent.content
                between = content[content.index(one) + 1 : content.index(other)]
                if all(isinstance(part, str) for part in between) and DASH.fullmatch("".join(between)):
                    found.update(range(targets[one][0], targets[other][0] + 1))
        for place in found:
            # a figure's own text, such as its caption, does not cite it
            if any(place in targets[ref] and figures[place] in ref.up() for ref in references):
                continue
            if figures[place] not in paragraph.up():
                yield paragraph, place


def test_citing_paragraphs_are_found(articles):
    floats = ("fig", "table-wrap", "fig-group")
    expected, found, given = 0, 0, 0
    for root, figures, article in pairs(articles):
        ours = [Counter(map(squeezed, figure.citing_paragraphs)) for figure in article.figures]
        given += sum(texts.total() for texts in ours)
        for paragraph, place in cited_by_reference(root, figures):
            expected += 1
            found += squeezed(paragraph.text((*floats, *no_text(paragraph)))) in ours[place]
    assert expected > 100
    assert found / expected >= 0.99, f"{found} of {expected}"
    # What is found beyond references is plain text such as "Source data are provided for Figures 2 through 7."
    assert given - found <= 0.12 * given, f"{given - found} of {given}"
