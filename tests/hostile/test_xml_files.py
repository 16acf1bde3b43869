"""XML files from strangers: each is read as an article or dropped for one counted reason, soon and in little memory.

More of them, such as entities that name files, are in `tests/phenokg/articles/test_article_xml.py`.
"""

import gzip

import pytest

from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.parse_articles import ParseConfig, run
from phenolip.phenokg.records import Article, Drop

HEAD = '<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta/></front><body>'
TAIL = "</body></article>"


def _body(content, before=""):
    return (before + HEAD + content + TAIL).encode()


def _figures(number, inner=""):
    return "".join(f'<fig id="f{n}"><label>Figure {n}</label>{inner}</fig>' for n in range(number))


_PARAMETERS = "".join(f"<!ENTITY % p{n} '{f'%p{n - 1};' * 10}'>" for n in range(1, 10))

REFUSED = {  # name -> file, reason of the drop
    "billion laughs in a parameter": (_body("<p>a</p>", f"<!DOCTYPE a [<!ENTITY % p0 'aaaaaaaaaa'>{_PARAMETERS}%p9;]>")
                                      + b"<", "broken_xml"),
    "one long entity, used 1,000 times": (
        _body("<p>" + "&a;" * 1000 + "</p>", f'<!DOCTYPE a [<!ENTITY a "{"a" * 1_000_000}">]>'), "entity"),
    "entity that names a device": (_body("<p>&a;</p>", '<!DOCTYPE a [<!ENTITY a SYSTEM "/dev/zero">]>'), "entity"),
    "entity that names an address": (
        _body("<p>&a;</p>", '<!DOCTYPE a [<!ENTITY a SYSTEM "http://127.0.0.1:9/">]>'), "entity"),
    "entity of a public id": (
        _body("<p>&a;</p>", '<!DOCTYPE a [<!ENTITY a PUBLIC "-//A//B" "ftp://127.0.0.1/a">]>'), "entity"),
    "NUL": (_body("<p>a\0b</p>"), "broken_xml"),
    "NUL as a reference": (_body("<p>&#0;</p>"), "broken_xml"),
    "a surrogate as a reference": (_body("<p>&#xD800;</p>"), "broken_xml"),
    "a reference beyond Unicode": (_body("<p>&#x7fffffff;</p>"), "broken_xml"),
    "a control character": (_body("<p>\x1b[2J</p>"), "broken_xml"),
    "cut off within a tag": (_body("<p>a</p>")[:-4], "broken_xml"),
    "cut off within a character": (HEAD.encode() + b"<p>\xe2\x82", "broken_xml"),
    "cut off within a comment": (_body("<!-- "), "broken_xml"),
    "UTF-8 with a byte that is none": (_body("<p>a</p>").replace(b"a</p>", b"\xff</p>"), "encoding"),
    "overlong UTF-8": (_body("<p>a</p>").replace(b"a</p>", b"\xc0\xbcscript\xc0\xbe</p>"), "encoding"),
    "UTF-16 that says UTF-8": (
        b'<?xml version="1.0" encoding="UTF-8"?>' + _body("<p>a</p>").decode().encode("utf-16-le"), "broken_xml"),
    "UTF-8 that says UTF-16": (b'<?xml version="1.0" encoding="UTF-16"?>' + _body("<p>a</p>"), "broken_xml"),
    "an encoding of 100,000 letters": (
        b'<?xml version="1.0" encoding="' + b"a" * 100_000 + b'"?>' + _body("<p>a</p>"), "broken_xml"),
    "an attribute of 11 MB": (_body(f'<p id="{"a" * 11_000_000}"/>'), "too_large"),
    "a name of 1 MB": (_body(f"<{'a' * 1_000_000}/>"), "broken_xml"),
    "an attribute twice": (_body('<p id="1" id="2"/>'), "broken_xml"),
    "tags that cross": (_body("<p><sec></p></sec>"), "broken_xml"),
    "200 levels of figures": (_body("<fig>" * 250 + "</fig>" * 250), "too_deep"),
    "100,000 levels": (_body("<sec>" * 100_000), "too_deep"),
    "gzip": (gzip.compress(_body("<p>a</p>")), "broken_xml"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not_jats"),
    "a style sheet": (b'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>', "not_jats"),
    "a schema that includes another": (
        b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:include schemaLocation="/etc"/></xs:schema>',
        "not_jats"),
}  # fmt: skip
HARMLESS = {  # name -> file, what the article's text must not hold
    "an entity that nothing uses": (_body("<p>a</p>", '<!DOCTYPE a [<!ENTITY a SYSTEM "/etc/passwd">]>'), "root:"),
    "billion laughs in a default attribute": (
        _body("<p>a</p>", '<!DOCTYPE a [<!ENTITY a "aa"><!ATTLIST p id CDATA "b">]>'), "bb"),
    "XInclude": (
        _body('<fig><caption><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
              "</caption></fig>"), "root:"),
    "a style sheet from elsewhere": (
        _body("<p>a</p>", '<?xml-stylesheet type="text/xsl" href="http://127.0.0.1:9/a.xsl"?>'), "127"),
    "100,000 attributes": (_body("<p " + " ".join(f'a{n}="1"' for n in range(10_000)) + "/>"), "a1="),
    "10,000 namespaces": (_body("<p " + " ".join(f'xmlns:a{n}="b"' for n in range(10_000)) + "/>"), "xmlns"),
    "100,000 paragraphs": (_body("<p>a</p>" * 100_000), "<p>"),
    "2,000 figures of one id": (_body('<fig id="f"><label>Figure 1</label></fig>' * 2000), "<fig"),
    "a reference to 1,000 figures": (
        _body(_figures(1000) + f'<p><xref rid="{" ".join(f"f{n}" for n in range(1000))}">all</xref></p>'), "<xref"),
    "a range to 10^9": (_body(_figures(3) + "<p>Figs 1-999999999 and Figs 1-2,1-2,1-2</p>"), "<p>"),
    "a caption of markup in CDATA": (
        _body("<fig><caption><p><![CDATA[<fig>&amp;</fig>]]></p></caption></fig>"), "nothing"),
    "a graphic that leads out": (_body('<fig><graphic xlink:href="../../../etc/passwd"/></fig>'), "root:"),
    "a graphic that is a script": (_body('<fig><graphic xlink:href="javascript:alert(1)"/></fig>'), "root:"),
    "a comment of 9 MB": (_body(f"<!--{'a' * 9_000_000}-->"), "aaaa"),
    "text that runs the other way": (
        _body("<fig><caption><p>\u202eevil\u202c \u200b\u2066a\u2069</p></caption></fig>"), "<p>"),
    "40,000 combining marks": (_body("<fig><caption><p>a" + "\u0301" * 40_000 + "</p></caption></fig>"), "<p>"),
    "ids of an article that are paths": (
        b"<article><front><article-meta><article-id pub-id-type='pmcid'>../../PMC1</article-id></article-meta></front>"
        b"<body/></article>", "nothing"),
}  # fmt: skip
LARGE = {name for name, (data, _) in (REFUSED | HARMLESS).items() if len(data) > 500_000}


def outcomes(folder, data, bounds):
    (folder / "a.xml").write_bytes(data)
    with bounds():
        return list(run(find_articles(folder), ParseConfig()))


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_article_is_one_drop(name, tmp_path, bounds):
    data, reason = REFUSED[name]
    (drop,) = outcomes(tmp_path, data, bounds)
    assert isinstance(drop, Drop) and (drop.key, drop.reason) == ("a.xml", reason), drop
    assert len(drop.detail) <= 300 and len(drop.detail.splitlines()) <= 1


@pytest.mark.parametrize("name", HARMLESS)
def test_what_can_be_read_brings_nothing_from_elsewhere(name, tmp_path, bounds):
    data, never = HARMLESS[name]
    *drops, article = outcomes(tmp_path, data, bounds)
    assert isinstance(article, Article), article
    assert never not in repr(article) and not any(drop.reason == "unreadable" for drop in drops)
