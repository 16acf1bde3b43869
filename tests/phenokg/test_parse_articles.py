"""Articles as publishers lay them out: figures, captions, ids, dates, licences, abstracts."""

import json

import pytest

from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.parse_articles import ParseConfig, run
from phenolip.phenokg.records import Article, Drop, License, TypedText, from_row, to_row

NAMESPACES = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"'
CC = "http://creativecommons.org/licenses/"


def document(body="", meta="", rest="", front=""):
    return (
        f'<article article-type="case-report" {NAMESPACES}><front>{front}<article-meta>{meta}</article-meta></front>'
        f"<body>{body}</body>{rest}</article>"
    )


def parse(folder, text, name="a.xml", **bounds):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(run(find_articles(folder), ParseConfig(**bounds)))


def parse_one(folder, text, name="a.xml"):
    (article,) = parse(folder, text, name)
    assert isinstance(article, Article), article
    return article


def figures(folder, body, rest=""):
    return parse_one(folder, document(body, rest=rest)).figures


def test_a_figure_has_label_caption_and_graphics(tmp_path):
    (figure,) = figures(
        tmp_path,
        '<p>In <xref ref-type="fig" rid="F1">Figure 1</xref>.</p><fig id="F1" position="float">'
        '<object-id pub-id-type="doi">10.1/f1</object-id><label>Figure <bold>1</bold></label><caption><title>Long '
        "<italic>fingers</italic></title><p>H<sub>2</sub>O.</p><p>Second.</p></caption><alt-text>no</alt-text>"
        '<graphic xlink:href="a-1" mimetype="image"><alt-text>no</alt-text></graphic></fig>',
    )
    assert (figure.id, figure.label, figure.kind, figure.license) == ("F1", "Figure 1", "body", None)
    assert (figure.caption_title, figure.caption) == ("Long fingers", "Long fingers H2O. Second.")
    assert (figure.graphics, figure.citing_paragraphs) == (("a-1",), ("In Figure 1.",))


@pytest.mark.parametrize(
    ("inner", "graphics"),
    [
        ('<alternatives><graphic xlink:href="a.tif"/><graphic specific-use="web" xlink:href="a.jpg"/></alternatives>',
         ("a.tif", "a.jpg")),
        ('<graphic href="a"/>', ("a",)),
        ('<p><graphic xlink:href="a"/></p><graphic xlink:href="a"/>', ("a", "a")),
        ('<graphic xlink:href="../../b c.jpg"/>', ("../../b c.jpg",)),
        ('<caption><p>x <inline-graphic xlink:href="sign"/> <disp-formula><graphic xlink:href="e1"/></disp-formula>'
         '</p></caption><graphic xlink:href="a"/>', ("e1", "a")),
        ('<media xlink:href="film"/><chem-struct-wrap><graphic xlink:href="a"/></chem-struct-wrap>', ("a",)),
        ('<table-wrap><graphic xlink:href="a"/></table-wrap>', ("a",)),
        ("", ()),
    ],
)  # fmt: skip
def test_every_graphic_of_a_figure_counts(tmp_path, inner, graphics):
    (figure,) = figures(tmp_path, f'<fig id="f1">{inner}</fig>')
    assert figure.graphics == graphics


def test_a_prefix_may_lack_its_namespace(tmp_path):
    text = '<article><body><fig id="f1"><graphic xlink:href="a"/></fig></body></article>'
    assert parse_one(tmp_path, text).figures[0].graphics == ("a",)


def test_comments_and_instructions_are_nowhere_in_the_way(tmp_path):
    note = "<!-- note --><?page 2?>"
    text = document(
        f"{note}<p>{note}Fi{note}g. 1{note}</p>{note}<fig id='f1'>{note}<label>{note}Fig. 1</label>{note}"
        f"<caption>{note}<p>a{note}b <math>{note}<mi>x</mi>{note}</math></p></caption>"
        f"<graphic xlink:href='a'>{note}</graphic></fig>",
        f"{note}<article-id pub-id-type='pmid'>{note}7</article-id><abstract>{note}<p>c</p></abstract>",
    )
    article = parse_one(tmp_path, f"<?xml version='1.0'?>{note}{text}{note}")
    assert (article.pmid, article.abstract, article.figures[0].caption) == ("7", "c", "ab x")
    assert article.figures[0].citing_paragraphs == ("Fig. 1",)


def test_a_graphic_belongs_to_the_closest_figure(tmp_path):
    outer, inner = figures(
        tmp_path,
        '<fig id="f1"><label>Figure 1</label><caption><p>Outer</p></caption><graphic xlink:href="a"/>'
        '<fig id="f1a"><label>A</label><caption><p>Inner</p></caption><graphic xlink:href="b"/></fig></fig>',
    )
    assert (outer.caption, outer.graphics, inner.caption, inner.graphics) == ("Outer", ("a",), "Inner", ("b",))


def test_figures_are_found_wherever_they_stand(tmp_path):
    def fig(name):
        return f'<fig id="{name}"><graphic xlink:href="{name}.jpg"/></fig>'

    meta = f'<abstract abstract-type="graphical"><p>{fig("front")}</p></abstract>'
    body = (
        f"<sec><p>{fig('paragraph')}</p></sec><fig-group>{fig('group')}</fig-group>"
        f"<boxed-text>{fig('box')}</boxed-text><supplementary-material>{fig('supplement')}</supplementary-material>"
    )
    rest = (
        f'<back><app-group><app>{fig("appendix")}</app></app-group><sec sec-type="supplementary-material">'
        f"{fig('section')}</sec></back><floats-group>{fig('floats')}</floats-group>"
        f"<sub-article><body>{fig('reply')}</body></sub-article><response><body>{fig('response')}</body></response>"
    )
    found = parse_one(tmp_path, document(body, meta, rest)).figures
    assert [(figure.id, figure.kind) for figure in found] == [
        ("front", "front"), ("paragraph", "body"), ("group", "body"), ("box", "body"), ("supplement", "supplementary"),
        ("appendix", "back"), ("section", "supplementary"), ("floats", "floats"), ("reply", "sub-article"),
        ("response", "sub-article"),
    ]  # fmt: skip
    assert all(figure.graphics == (f"{figure.id}.jpg",) for figure in found)


def test_figures_without_ids_are_called_by_their_place(tmp_path):
    found = figures(tmp_path, '<fig/><fig id="x"/><fig id=""/>')
    assert [figure.id for figure in found] == ["fig-1", "x", "fig-3"]


@pytest.mark.parametrize(
    ("inner", "title", "caption"),
    [
        ("<title>T</title><p>a</p><p>b</p>", "T", "T a b"),
        ("<p>a</p>", "", "a"),
        ("<caption>bare <bold>text</bold></caption>", "", "bare text"),
        ("<caption><p>a</p></caption><caption><title>U</title><p>b</p></caption>", "U", "a U b"),
        ('<caption><p>a <supplementary-material id="s"><object-id>10.1/s</object-id><label>Source data 1.</label>'
         "<caption><title>Raw.</title></caption></supplementary-material></p></caption>", "", "a Source data 1. Raw."),
        ("<table-wrap><caption><p>of a table</p></caption></table-wrap>", "", ""),
        ('<graphic xlink:href="a"><caption><p>of the graphic</p></caption></graphic>', "", "of the graphic"),
    ],
)  # fmt: skip
def test_captions_of_all_styles(tmp_path, inner, title, caption):
    (figure,) = figures(tmp_path, f'<fig id="f1"><label>1</label>{inner}</fig>')
    assert (figure.caption_title, figure.caption) == (title, caption)


def test_a_group_gives_its_caption_to_its_figures(tmp_path):
    group = (
        "<fig-group><label>Figure 1</label><caption><title>Hands</title></caption>"
        '<fig id="a"><label>A</label></fig><fig id="b"><label>B</label></fig></fig-group>'
    )
    found = figures(tmp_path, "<p>Figure 1</p>" + group)
    assert [(figure.label, figure.group_caption, figure.citing_paragraphs) for figure in found] == [
        ("A", "Hands", ("Figure 1",)), ("B", "Hands", ("Figure 1",))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (f'<permissions><license xlink:href="{CC}by-nc/4.0/"><license-p>Text</license-p></license></permissions>',
         License("non-commercial", "CC-BY-NC-4.0", "Text", f"{CC}by-nc/4.0/")),
        ("<permissions><copyright-statement>All rights reserved</copyright-statement></permissions>",
         License(text="All rights reserved")),
        ("<attrib>Reproduced with permission from Elsevier</attrib>",
         License(text="Reproduced with permission from Elsevier")),
        ("<attrib>Brookhaven National Laboratory</attrib>", None),
        ("<caption><p>A hand. Reprinted under a CC BY license, with permission from X, original copyright 2014.</p>"
         "</caption>", License("commercial", "CC-BY", "Reprinted under a CC BY license, with permission from X, "
                               "original copyright 2014.")),
        ("<caption><p>A hand. The patient gave permission.</p></caption>", None),
    ],
)  # fmt: skip
def test_a_figure_may_have_a_licence_of_its_own(tmp_path, inner, expected):
    (figure,) = figures(tmp_path, f'<fig id="f1">{inner}</fig>')
    assert figure.license == expected


PMC_IDS = '<article-id pub-id-type="pmid">7</article-id><article-id pub-id-type="doi">10.1/AB</article-id>'


@pytest.mark.parametrize(
    ("ids", "path", "article_id", "pmcid", "version"),
    [
        ('<article-id pub-id-type="pmc">123</article-id>', "a.xml", "PMC123", "PMC123", None),
        ('<article-id pub-id-type="pmc">PMC123</article-id>', "PMC123.2/PMC123.2.xml", "PMC123.2", "PMC123", 2),
        ('<article-id pub-id-type="pmcid">PMC0123</article-id>'
         '<article-id pub-id-type="pmcid-ver">PMC123.3</article-id>'
         '<article-id pub-id-type="pmcaid">123</article-id><article-id pub-id-type="pmcaiid">999</article-id>',
         "a.xml", "PMC123.3", "PMC123", 3),
        ('<article-id pub-id-type="pmcaid">PMC123</article-id><article-version article-version-type="pmc-version">4'
         "</article-version>", "a.xml", "PMC123.4", "PMC123", 4),
        ('<article-id pub-id-type="pmc-uid">123</article-id>', "PMC124.2/a.xml", "PMC123", "PMC123", None),
        ("", "x/PMC123.10/main.xml", "PMC123.10", "PMC123", 10),
        ("", "PMC99.1/PMC123.2/main.xml", "PMC123.2", "PMC123", 2),
        ("", "PMC000xxxxxx/PMC123.nxml", "PMC123", "PMC123", None),
        ("", "PMC0.0/a.xml", "10.1/ab", None, None),
        ('<article-id pub-id-type="pmc">none</article-id>', "a.xml", "10.1/ab", None, None),
    ],
)  # fmt: skip
def test_ids_of_an_article(tmp_path, ids, path, article_id, pmcid, version):
    article = parse_one(tmp_path, document(meta=PMC_IDS + ids), path)
    assert (article.article_id, article.pmcid, article.version) == (article_id, pmcid, version)
    assert (article.pmid, article.doi, article.source) == ("7", "10.1/ab", path)


@pytest.mark.parametrize(
    "doi", ["10.1/AbC", "https://doi.org/10.1/abc", "http://dx.doi.org/10.1/abc", "doi: 10.1/abc"]
)
def test_a_doi_is_without_address(tmp_path, doi):
    meta = (
        f'<article-id pub-id-type="doi">{doi}</article-id><article-id pub-id-type="doi">10.1/abc.2</article-id>'
        '<article-id pub-id-type="publisher-id">x-1</article-id>'
    )
    article = parse_one(tmp_path, document(meta=meta))
    assert article.doi == "10.1/abc"
    assert article.other_ids == (TypedText("publisher-id", "x-1"), TypedText("doi", "10.1/abc.2"))


def test_ids_of_related_articles_are_not_taken(tmp_path):
    rest = '<sub-article><front-stub><article-id pub-id-type="doi">10.1/sub</article-id></front-stub></sub-article>'
    assert parse_one(tmp_path, document(rest=rest)).doi is None


@pytest.mark.parametrize(
    ("dates", "published", "first"),
    [
        ('<pub-date pub-type="epub"><day>9</day><month>2</month><year>2014</year></pub-date>', "2014-02-09",
         ("epub", "2014-02-09")),
        ('<pub-date pub-type="collection"><year>2014</year></pub-date><pub-date pub-type="epub"><day>09</day><month>12'
         "</month><year>2014</year></pub-date>", "2014-12-09", ("collection", "2014")),
        ('<pub-date pub-type="ppub"><year>2013</year></pub-date><pub-date pub-type="epub"><month>1</month><year>2014'
         "</year></pub-date>", "2013", ("ppub", "2013")),
        ('<pub-date date-type="pub" publication-format="electronic" iso-8601-date="2020-07-17"><year>2020</year>'
         "</pub-date>", "2020-07-17", ("pub-electronic", "2020-07-17")),
        ("<pub-date><month>Sept.</month><year>2019</year></pub-date>", "2019-09", ("", "2019-09")),
        ("<pub-date><month>Jan-Feb</month><year>2019</year></pub-date>", "2019", ("", "2019")),
        ("<pub-date><season>Summer</season><year>2019</year></pub-date>", "2019", ("", "2019")),
        ("<pub-date><string-date>May 3rd, 1998</string-date></pub-date>", "1998", ("", "1998")),
        ("<pub-date><day>45</day><month>3</month><year>2019</year></pub-date>", "2019-03", ("", "2019-03")),
        ('<pub-date pub-type="pmc-release"><year>2010</year></pub-date><history><date date-type="received"><year>2009'
         "</year></date></history>", None, ("pmc-release", "2010")),
        ("", None, None),
    ],
)  # fmt: skip
def test_dates(tmp_path, dates, published, first):
    article = parse_one(tmp_path, document(meta=dates))
    assert article.published == published
    assert article.dates[:1] == ((TypedText(*first),) if first else ())


@pytest.mark.parametrize(
    ("meta", "category", "spdx", "url"),
    [
        (f'<permissions><license license-type="open-access" xlink:href="{CC}by/2.0"><license-p>An Open Access article.'
         "</license-p></license></permissions>", "commercial", "CC-BY-2.0", f"{CC}by/2.0"),
        (f"<permissions><ali:free_to_read/><license><ali:license_ref>{CC}by-nc/4.0/</ali:license_ref><license-p>Text"
         "</license-p></license></permissions>", "non-commercial", "CC-BY-NC-4.0", f"{CC}by-nc/4.0/"),
        (f'<permissions><license><license-p>Open <ext-link xlink:href="{CC}by-nc-nd/3.0/">here</ext-link></license-p>'
         "</license></permissions>", "no-derivatives", "CC-BY-NC-ND-3.0", f"{CC}by-nc-nd/3.0/"),
        (f'<permissions><license xlink:href="{CC}by/4.0/" xml:lang="pt"/><license xlink:href="{CC}by/4.0/" '
         'xml:lang="en"/></permissions>', "commercial", "CC-BY-4.0", f"{CC}by/4.0/"),
        ("<copyright-statement>X. distributed under the terms of the Creative Commons Attribution License, which "
         "permits unrestricted use</copyright-statement>", "commercial", "CC-BY", ""),
        ("<license><p>Creative Commons Attribution-NonCommercial 3.0 License</p></license>", "non-commercial",
         "CC-BY-NC-3.0", ""),
        ('<permissions><license license-type="cc-by"><license-p>Open access.</license-p></license></permissions>',
         "commercial", "CC-BY", ""),
        ("<permissions><copyright-statement>2010 Cancer Research UK</copyright-statement></permissions>", "unknown",
         None, ""),
        ("", "unknown", None, ""),
    ],
)  # fmt: skip
def test_licences_of_all_styles(tmp_path, meta, category, spdx, url):
    license = parse_one(tmp_path, document(meta=meta)).license
    assert (license.category, license.spdx, license.url) == (category, spdx, url)


@pytest.mark.parametrize(
    ("abstracts", "expected"),
    [
        ("<abstract><title>Abstract</title><sec><title>Background</title><p>A.</p></sec><sec><title>Methods</title>"
         "<p>B.</p></sec></abstract>", "Background A. Methods B."),
        ('<abstract abstract-type="graphical"><p><fig><caption><p>no</p></caption></fig></p></abstract>'
         '<abstract abstract-type="toc"><p>Teaser.</p></abstract><abstract><p>Own.</p></abstract>'
         '<trans-abstract><p>Eigen.</p></trans-abstract>', "Own."),
        ('<abstract abstract-type="teaser"><p>Teaser.</p></abstract>', "Teaser."),
        ('<trans-abstract xml:lang="en"><p>Own.</p></trans-abstract>', "Own."),
        ('<abstract xml:lang="pt"><p>Um.</p></abstract><abstract xml:lang="en"><p>One.</p></abstract>', "Um."),
        ("", ""),
    ],
)  # fmt: skip
def test_abstracts(tmp_path, abstracts, expected):
    assert parse_one(tmp_path, document(meta=abstracts)).abstract == expected


def test_title_journal_and_type(tmp_path):
    front = (
        '<journal-meta><journal-id journal-id-type="nlm-ta">J X</journal-id><journal-title-group>'
        "<journal-title>Journal of X</journal-title></journal-title-group></journal-meta>"
    )
    meta = (
        '<title-group><article-title>A <italic>title</italic><xref ref-type="fn">*</xref><fn><p>Note</p></fn>'
        "</article-title></title-group>"
    )
    article = parse_one(tmp_path, document(meta=meta, front=front))
    assert (article.title, article.journal, article.article_type) == ("A title", "Journal of X", "case-report")
    old = front.replace("<journal-title-group>", "").replace("</journal-title-group>", "")
    assert parse_one(tmp_path, document(front=old)).journal == "Journal of X"
    short = '<journal-meta><journal-id journal-id-type="nlm-ta">J X</journal-id></journal-meta>'
    assert parse_one(tmp_path, document(front=short)).journal == "J X"


def test_what_is_left_out_of_an_article_is_counted(tmp_path):
    oversized = f'<fig id="f1"><caption><p>{"a" * 101}</p></caption></fig>'
    body = f'{oversized}<fig id="f2"><graphic/><graphic xlink:href="a"/></fig>'
    nameless, long, article = parse(tmp_path, document(body), max_caption_characters=100)
    assert (nameless.reason, nameless.key) == ("no_address", "a.xml/f2")
    assert (long.reason, long.key) == ("caption_too_long", "a.xml/f1")
    assert [figure.id for figure in article.figures] == ["f2"]


def test_drops_are_handed_on():
    drop = Drop("fetch_articles", "PMC1", "absent")
    assert list(run([drop], ParseConfig())) == [drop]


def test_an_article_survives_json(tmp_path):
    article = parse_one(tmp_path, document('<p>Fig. 1</p><fig id="f1"><label>Fig. 1</label></fig>', PMC_IDS))
    row = json.loads(json.dumps(to_row(article)))
    assert from_row(row, Article, "row") == article
    assert {"id", "label", "caption", "graphics", "citing_paragraphs"} <= row["figures"][0].keys()
