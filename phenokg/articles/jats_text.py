"""Text of a JATS element: formatting flattened, no word joined to the next and none torn apart."""

from collections.abc import Collection
from html.entities import html5
from itertools import islice

from lxml import etree

MATHML = "{http://www.w3.org/1998/Math/MathML}"
_MATH = {f"{MATHML}math", "math", "mml:math"}  # the last: a prefix that was never declared
_BLOCKS = frozenset(
    """
    abstract app array attrib body boxed-text break caption chem-struct-wrap code def def-item def-list
    disp-formula disp-formula-group disp-quote fig fig-group fn fn-group hr label license-p list list-item media
    note p preformat ref-list sec speech statement subtitle supplementary-material table table-wrap table-wrap-foot
    tbody td term tfoot th thead title tr trans-title verse-group verse-line
    """.split()
)
_HIDDEN = frozenset(("alt-text", "long-desc", "object-id", "processing-meta"))
_FORMS = {**dict.fromkeys(_MATH, 0), "textual-form": 1, "tex-math": 2}  # of one formula, the first is its text
_HOLDS_FORMS = {"alternatives", "inline-formula", "disp-formula"}
_MAX_FORMS = 8
_TEX_PREAMBLE, _TEX_END = "\\begin{document}", "\\end{document}"

Pieces = list[str]
Reference = tuple[int, int, etree._Element]


def flat_text(element: etree._Element, skip: Collection[str] = ()) -> str:
    """All text of an element in one line, without that of elements named in `skip`.

    Space stands where the XML has some, and around blocks such as paragraphs, titles and line breaks. Of a formula
    that is given as MathML and as TeX, the MathML is read. Alternative texts and ids of objects are no text.

    Example:
        >>> flat_text(etree.fromstring("<p>H<sub>2</sub>O<list><list-item><p>a</p></list-item></list>b</p>"))
        'H2O a b'
    """
    return one_line("".join(text_pieces(element, skip)[0]))


def one_line(text: str) -> str:
    """Text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def text_pieces(element: etree._Element, skip: Collection[str] = ()) -> tuple[Pieces, list[Reference]]:
    """The text before white space is collapsed, in pieces, and what each `xref` spans of them: start, end, element."""
    pieces: Pieces = []
    references: list[Reference] = []
    _collect(element, pieces, references, _HIDDEN.union(skip))
    return pieces, references


def is_standard_entity(name: str) -> bool:
    """Whether a name such as "alpha" stands for the same character in every document."""
    return f"{name};" in html5


def _collect(element: etree._Element, pieces: Pieces, references: list[Reference], skip: frozenset[str]) -> None:
    tag = element.tag
    start = len(pieces)
    is_block = tag in _BLOCKS
    if is_block:
        pieces.append(" ")
    if element.text:
        pieces.append(element.text)
    for child in element:
        child_tag = child.tag
        if child_tag is etree.Entity:
            pieces.append(html5.get(f"{child.name};", child.text))
        elif child_tag in _FORMS and _is_repeated(child):
            pass
        elif child_tag in _MATH:
            _collect_math(child, pieces)
        elif child_tag == "tex-math":
            pieces.append(_tex_text(child))
        elif child_tag not in skip and isinstance(child_tag, str):
            _collect(child, pieces, references, skip)
        if child.tail:
            pieces.append(child.tail)
    if is_block:
        pieces.append(" ")
    if tag == "xref":
        references.append((start, len(pieces), element))


def _is_repeated(form: etree._Element) -> bool:
    """Whether a form of a formula stands beside a better one."""
    parent = form.getparent()
    rank = _FORMS[form.tag]
    siblings = islice(parent, _MAX_FORMS)
    return parent.tag in _HOLDS_FORMS and any(_FORMS.get(sibling.tag, rank) < rank for sibling in siblings)


def _collect_math(element: etree._Element, pieces: Pieces) -> None:
    """Content of the tokens; space between elements is layout of the XML, and annotations repeat the formula."""
    if element.text and element.text.strip():
        pieces.append(element.text)
    for child in element:
        if child.tag is etree.Entity:
            pieces.append(html5.get(f"{child.name};", child.text))
        elif "annotation" not in child.tag:
            _collect_math(child, pieces)
        if child.tail and child.tail.strip():
            pieces.append(child.tail)


def _tex_text(tex: etree._Element) -> str:
    """A formula in TeX, without the document around it and the signs that begin and end it."""
    text = "".join(tex.itertext())
    text = text.partition(_TEX_PREAMBLE)[2].partition(_TEX_END)[0] if _TEX_PREAMBLE in text else text
    return text.strip().strip("$")
