"""Which paragraphs cite a figure, in the ways that publishers mark it."""

import pytest
from lxml import etree

from phenolip.phenokg.articles.citing_paragraphs import FigureText, find_citing_paragraphs
from phenolip.phenokg.articles.jats_figures import group_text, read_figure


def fig(number, label=None, caption="", inner=""):
    label = f"Figure {number}" if label is None else label
    return f'<fig id="f{number}"><label>{label}</label><caption><p>{caption}</p></caption>{inner}</fig>'


def xref(rid, text, kind="fig"):
    return f'<xref ref-type="{kind}" rid="{rid}">{text}</xref>'


def citing(body, rest="", figures=""):
    """Paragraphs by figure id."""
    root = etree.fromstring(f"<article><body>{body}</body>{rest}<floats-group>{figures}</floats-group></article>")
    elements = list(root.iter("fig"))
    read = [read_figure(element, place)[0] for place, element in enumerate(elements, 1)]
    texts = [
        FigureText(element, figure.label, figure.caption, group_text(element, "label"))
        for element, figure in zip(elements, read, strict=True)
    ]
    found = find_citing_paragraphs(root, texts, lambda: None)
    return {figure.id: list(paragraphs) for figure, paragraphs in zip(read, found, strict=True)}


FIVE_FIGURES = "".join(fig(number) for number in range(1, 6))


def cited(paragraph, figures=FIVE_FIGURES):
    """Ids of the figures that one paragraph cites."""
    return sorted(name for name, texts in citing(f"<p>{paragraph}</p>", figures=figures).items() if texts)


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        (f"({xref('f2', 'Fig. 2')})", ["f2"]),
        ('(<xref rid="f2">Fig. 2</xref>)', ["f2"]),
        (f"({xref('f2', 'A', 'other')})", ["f2"]),
        (f"{xref('f1 f2  f4', 'Figs 1, 2, 4')}", ["f1", "f2", "f4"]),
        # ranges
        (f"{xref('f1', 'Figs 1')}-{xref('f3', '3')}", ["f1", "f2", "f3"]),
        (f"Figs. {xref('f1', '1')}\u2013{xref('f3', '3')}", ["f1", "f2", "f3"]),
        (f"{xref('f2', 'Figure 2')}A to {xref('f4', 'Figure 4')}C", ["f2", "f3", "f4"]),
        (f"{xref('f2', 'Figs 2')} through {xref('f4', '4')}", ["f2", "f3", "f4"]),
        (f"{xref('f2', 'Figures 2&#8211;4')}", ["f2", "f3", "f4"]),
        (f"{xref('f2', 'Figs 2')}-4", ["f2", "f3", "f4"]),
        (f"{xref('f1', 'Fig. 1')} and {xref('f3', 'Fig. 3')}", ["f1", "f3"]),
        (f"{xref('f1', 'Fig. 1')}, {xref('f3', '3')}", ["f1", "f3"]),
        (f"{xref('f1', 'Fig. 1A')}\u2013{xref('f1', 'C')}", ["f1"]),
        # plain text
        ("as Fig. 3 shows", ["f3"]),
        ("Figs 1 and 2", ["f1", "f2"]),
        ("FIGURE 2A", ["f2"]),
        ("<bold>Fig</bold>ure <italic>4</italic>", ["f4"]),
        (f"Figs {xref('f1', '1')}, 2 and 3", ["f1", "f2", "f3"]),
        (f"{xref('', 'Figure 1')}", ["f1"]),
        (f"{xref('gone', 'Figure 1')}", ["f1"]),
        # not a figure of this article
        (f"Supplementary Figure 1, Figure S2, {xref('t1', 'Table 3', 'table')}", []),
        (f"Fig. 1<sup>{xref('b2', '2', 'bibr')}</sup>", ["f1"]),
        (f"{xref('b1', 'Figure 1 of them', 'bibr')}", []),
        (f"Figure 3 in {xref('b1', '7', 'bibr')}", []),
        (f"(Figure 3E; {xref('b1', 'Lin, 2012', 'bibr')})", []),
        ("Figure 9; figures 1990", []),
        # what the reference says goes before what its text says
        (f"{xref('f2', 'Figure 1')}", ["f2"]),
    ],
)  # fmt: skip
def test_a_paragraph_cites(paragraph, expected):
    assert cited(paragraph) == expected


def test_supplements_of_a_figure_are_figures_of_their_own():
    figures = (
        fig(2) + fig("2s1", "Figure 2\u2014figure supplement 1.") + fig("2s2", "Figure 2\u2014figure supplement 2.")
    )
    assert cited(xref("f2s1", "Figure 2\u2014figure supplement 1"), figures) == ["f2s1"]
    assert cited("Figure 2\u2014figure supplement 2", figures) == ["f2s2"]
    assert cited("Figure 2\u2014figure supplements 1 and 2", figures) == ["f2s1", "f2s2"]
    assert cited("Figure 2\u2014source data 1", figures) == []
    assert cited(f"{xref('f2', 'Figure 2')}\u2014{xref('f2s2', 'figure supplement 2')}", figures) == ["f2", "f2s2"]


def test_supplementary_figures_and_main_ones_do_not_mix():
    figures = fig(1) + fig("s1", "Figure S1") + fig("s2", "Supplementary Fig. 2") + fig("e1", "Extended Data Figure 1")
    assert cited("Supplementary Figs 1 and 2", figures) == ["fs1", "fs2"]
    assert cited("Fig. S2", figures) == ["fs2"]
    assert cited("Extended Data Fig. 1", figures) == ["fe1"]
    assert cited("Fig. 1", figures) == ["f1"]


def test_figures_without_labels_are_cited_by_id_and_range():
    figures = "".join(fig(number, "") for number in (1, 2, 3))
    assert cited(f"{xref('f1', 'A')} to {xref('f3', 'C')}", figures) == ["f1", "f2", "f3"]
    assert cited("Figure 1", figures) == []


def test_parts_and_groups_stand_for_their_figures():
    panels = '<graphic id="f1a"/><alternatives><graphic id="f1b"/></alternatives>'
    group = f'<fig-group id="g2"><label>Figure 2</label>{fig("2a", "A")}{fig("2b", "B")}</fig-group>'
    source = '<supplementary-material id="sd1"><label>Figure 1\u2014source data 1</label></supplementary-material>'
    figures = fig(1, inner=panels, caption=source) + group
    assert cited(xref("f1a", "1A"), figures) == ["f1"]
    assert cited(xref("f1b", "1B"), figures) == ["f1"]
    assert cited(xref("sd1", "Figure 1\u2014source data 1", "supplementary-material"), figures) == []
    assert cited(xref("g2", "Figure 2"), figures) == ["f2a", "f2b"]
    assert cited("Figure 2", figures) == ["f2a", "f2b"]
    assert cited(xref("f2a", "Figure 2A"), figures) == ["f2a"]


def test_a_paragraph_is_the_closest_one_without_floats():
    body = (
        f"<p>Outer {xref('f1', 'Fig. 1')}<list><list-item><p>Inner {xref('f2', 'Fig. 2')}</p></list-item></list>"
        " end.</p>"
        f"<p>Before {xref('f1', 'Fig. 1')} {fig(9, caption='Nine.')} after.</p>"
        f"<list><list-item>Item {xref('f1', '1')}</list-item></list>"
        f"<sec><title>Heading {xref('f1', 'Fig. 1')}</title></sec>"
        f"<table-wrap><td>{xref('f1', 'Fig. 1')}</td></table-wrap>"
    )
    found = citing(body, figures=fig(1) + fig(2))
    assert found["f1"] == ["Outer Fig. 1 Inner Fig. 2 end.", "Before Fig. 1 after.", "Item 1"]
    assert found["f2"] == ["Inner Fig. 2"]


def test_a_caption_cites_other_figures_after_the_running_text():
    notes = f"<table-wrap><table-wrap-foot><fn><p>Note {xref('f1', 'Fig. 1')}</p></fn></table-wrap-foot></table-wrap>"
    figures = fig(1, caption=f"See {xref('f1', 'Figure 1')}, Figure 1.") + fig(2, caption="As in Figure 1.")
    found = citing(f"{notes}<p>Text Fig. 1</p><p>Text {xref('f1', 'Fig. 1')}</p>", figures=figures)
    assert found == {"f1": ["Text Fig. 1", "Text Fig. 1", "Note Fig. 1", "As in Figure 1."], "f2": []}


def test_a_group_does_not_cite_its_own_figures():
    group = f"<fig-group><caption><p>Figure 1. Hands.</p></caption>{fig(1)}</fig-group>"
    assert citing("<p>Figure 1</p>", figures=group) == {"f1": ["Figure 1"]}


def test_numbers_hold_within_a_sub_article_and_ids_everywhere():
    translated = f'<sub-article id="s1"><body><p>Na Figura 1</p>{fig("1pt", "Figura 1")}</body></sub-article>'
    review = f'<sub-article id="s2"><body><p>In Figure 1, and {xref("f2", "Figure 2")}</p></body></sub-article>'
    found = citing("<p>In Fig. 1</p>", translated + review, fig(1) + fig(2))
    assert found == {"f1pt": ["Na Figura 1"], "f1": ["In Fig. 1"], "f2": ["In Figure 1, and Figure 2"]}


def test_an_id_used_twice_stands_for_the_one_of_the_same_sub_article():
    reply = f"<response><body><p>{xref('f1', 'reply')}</p>{fig(1)}</body></response>"
    root = f"<p>{xref('f1', 'main')}</p>"
    elements = etree.fromstring(f"<article><body>{root}{fig(1)}</body>{reply}</article>")
    figures = [FigureText(element, "Figure 1", "") for element in elements.iter("fig")]
    assert find_citing_paragraphs(elements, figures, lambda: None) == [("main",), ("reply",)]


def test_plates_of_many_figures_are_found_by_each_number():
    figures = fig("p1", "Figs 1\u20136.") + fig("p2", "Figures 7\u201312.")
    assert cited("(Fig. 4)", figures) == ["fp1"]
    assert cited("(Figs 5\u20138)", figures) == ["fp1", "fp2"]


def test_a_label_in_the_caption_counts():
    figures = '<fig id="f1"><caption><p><bold>Figure 1.</bold> A hand.</p></caption></fig>'
    assert cited("Fig. 1", figures) == ["f1"]
