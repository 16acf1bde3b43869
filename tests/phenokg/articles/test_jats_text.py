"""Flattened text: nothing lost, no word joined or torn."""

import pytest
from lxml import etree

from phenolip.phenokg.articles.jats_text import flat_text

MML = 'xmlns:mml="http://www.w3.org/1998/Math/MathML"'
SPRINGER_TEX = r"\documentclass[12pt]{minimal} \usepackage{amsmath} \begin{document}$$\alpha _1$$\end{document}"


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("H<sub>2</sub>O and CO<sub>2</sub>", "H2O and CO2"),
        ("<bold>a</bold><italic>b</italic> <sup>c</sup>", "ab c"),
        ("see <xref rid='x'>Fig. 1</xref>, <ext-link>here</ext-link>.", "see Fig. 1, here."),
        ("one<break/>two", "one two"),
        ("<list><list-item><label>1.</label><p>a</p></list-item><list-item><p>b</p></list-item></list>c", "1. a b c"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("a<!-- no -->b<?page 3?>c", "abc"),
        ("a\n\t b\u00a0\u2009c", "a b c"),
        ("<inline-graphic><alt-text>picture</alt-text></inline-graphic>5 \u03bcm \u00b1 1", "5 \u03bcm \u00b1 1"),
        ("<object-id>10.1/x</object-id>a<long-desc>b</long-desc>", "a"),
        # one form of a formula
        (f"<inline-formula><alternatives><tex-math>{SPRINGER_TEX}</tex-math><mml:math><mml:msub><mml:mi>\u03b1</mml:mi>"
         "\n <mml:mn>1</mml:mn></mml:msub></mml:math><inline-graphic/></alternatives></inline-formula>-helix",
         "\u03b11-helix"),
        (f"p<inline-formula><tex-math>{SPRINGER_TEX}</tex-math></inline-formula>", r"p\alpha _1"),
        ("<inline-formula><tex-math>$x$</tex-math><mml:math><mml:mi>x</mml:mi></mml:math></inline-formula>", "x"),
        ("<mml:math><mml:semantics><mml:mi>x</mml:mi><mml:annotation>\\x</mml:annotation></mml:semantics></mml:math>",
         "x"),
        ("<tex-math>a</tex-math> and <mml:math><mml:mi>b</mml:mi></mml:math>", "a and b"),
        ("<mml:math><mml:mtext>no change</mml:mtext></mml:math>", "no change"),
    ],
)  # fmt: skip
def test_text_is_flattened(inner, expected):
    parser = etree.XMLParser(remove_comments=True, remove_pis=True)
    assert flat_text(etree.fromstring(f"<p {MML}>{inner}</p>", parser)) == expected


def test_comments_and_instructions_do_not_matter():
    assert flat_text(etree.fromstring("<p>a<!-- no -->b<?page 3?>c</p>")) == "abc"


def test_named_characters_are_read_and_unknown_names_kept():
    parser = etree.XMLParser(load_dtd=False, resolve_entities=False)
    text = '<!DOCTYPE p SYSTEM "x.dtd"><p>5 &mu;m, <b>&alpha;</b>&ndash;&beta; &acme; end</p>'
    assert flat_text(etree.fromstring(text, parser)) == "5 \u03bcm, \u03b1\u2013\u03b2 &acme; end"


def test_skipped_elements_leave_what_follows_them():
    assert flat_text(etree.fromstring("<p>a <fig><label>b</label></fig> c</p>"), skip=("fig",)) == "a c"
