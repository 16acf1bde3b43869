"""Numbers of figures as authors write them."""

import time

import pytest

from phenolip.phenokg.articles.figure_numbers import find_numbers, label_numbers


def numbers(found):
    return [(one.series, one.first[0] if one.first == one.last else (one.first[0], one.last[0])) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Fig. 3)", [("figure", 3)]),
        ("as in figure 12b.", [("figure", 12)]),
        ("Fig.2A,B and Fig.3", [("figure", 2), ("figure", 3)]),
        ("Figs 1 and 2", [("figure", 1), ("figure", 2)]),
        ("Figs. 1, 2, and 4-6", [("figure", 1), ("figure", 2), ("figure", (4, 6))]),
        ("Figures 1A\u2013C, 2 (a, b) and 3", [("figure", 1), ("figure", 2), ("figure", 3)]),
        ("Figures 2 through 7", [("figure", (2, 7))]),
        ("Fig. 2\u20134 show", [("figure", (2, 4))]),
        ("Fig. 3-1 of chapter 3", [("figure", 3)]),
        ("Fig. 1A\u2013Fig. 3C", [("figure", (1, 3))]),
        ("Figures 2a to 3b", [("figure", (2, 3))]),
        ("Fig. 1, 2 of 5 mice", [("figure", 1)]),
        ("Figure 1 and 20 patients", [("figure", 1)]),
        ("Fig. S1, Fig S 2, FigS3", [("S figure", 1), ("S figure", 2), ("S figure", 3)]),
        ("Figs S1\u2013S3 and S5\u20137", [("S figure", (1, 3)), ("S figure", (5, 7))]),
        ("Supplementary Figure 1; Suppl. Fig. 2; Supplementary Figs. 3 and 4",
         [("S figure", 1), ("S figure", 2), ("S figure", 3), ("S figure", 4)]),
        ("Additional file 2: Figure S1", [("S figure", 1)]),
        ("S1 Fig and S12 Figure", [("S figure", 1), ("S figure", 12)]),
        ("Extended Data Fig. 4b", [("ED figure", 4)]),
        ("Appendix 1\u2014figure 2", [("APPENDIX 1 figure", 2)]),
        ("Box 1\u2014figure 1", [("BOX 1 figure", 1)]),
        ("Figure A1", [("A figure", 1)]),
        ("Figure 2\u2014figure supplement 1", [("figure 2 supplement", 1)]),
        ("Figure 2\u2014figure supplements 1 and 3", [("figure 2 supplement", 1), ("figure 2 supplement", 3)]),
        ("Figure 2\u2014figure supplements 1\u20133", [("figure 2 supplement", (1, 3))]),
        ("Figure 2 and Figure 2\u2014figure supplement 1", [("figure", 2), ("figure 2 supplement", 1)]),
        ("Figure 2\u2014source data 1; Figure 3\u2014video 1", []),
        ("eFigure 1; configuration 2; Figment 3; 4 figs", []),
        ("Fig. 3 of Smith et al. and Figure 1 in Jones and Lee", []),
        ("(Figure 3E; Lin et al., 2012); Fig. 3F of the original study", []),
        ("Figure 1 in the Supplement; Fig. 2 in ref. 4; Fig. 3 in [7]; Fig. 4 in \x00", []),
        ("na Figura 1 e nas Figuras 2 a 4", [("figure", 1), ("figure", (2, 4))]),
        ("Figuras 1 y 2", [("figure", 1), ("figure", 2)]),
        ("Abb. 1", [("figure", 1)]),
        ("Scheme 1 and Figure 1", [("scheme", 1), ("figure", 1)]),
        ("Author response image 1", [("R image", 1)]),
        ("Fig. 1.2", [("figure", 1)]),
        ("in the supplement. Figure 1 shows", [("figure", 1)]),
        ("Fig. 1\x00", [("figure", 1)]),
    ],
)  # fmt: skip
def test_numbers_are_found(text, expected):
    assert numbers(find_numbers(text)) == expected


def test_chapters_number_their_figures_in_two_steps():
    assert find_numbers("Fig. 1.2")[0].first == (1, 2)


@pytest.mark.parametrize(
    ("label", "caption", "expected"),
    [
        ("FIG. 8.", "", [("figure", 8)]),
        ("1", "", [("figure", 1)]),
        ("Figs 1\u20136.", "", [("figure", (1, 6))]),
        ("S3 Fig", "", [("S figure", 3)]),
        ("Figure 2\u2014figure supplement 1.", "", [("figure 2 supplement", 1)]),
        ("", "Figure 4. A hand, as in Figure 2.", [("figure", 4)]),
        ("", "A hand, as in Figure 2.", []),
        ("", "Supplementary Figure 2. A hand.", [("S figure", 2)]),
        ("", "See Supplementary Figure 2.", []),
        ("Graphical abstract", "Figure 4.", []),
        ("A", "", []),
    ],
)
def test_labels_give_numbers(label, caption, expected):
    assert numbers(label_numbers(label, caption)) == expected


@pytest.mark.parametrize("part", ["Fig. ", "Figs 1, ", "Figs 1-", "Supplementary ", "S1", "fig s", "Figs 1a,b,", "1 "])
def test_long_texts_take_linear_time(part):
    def seconds(times):
        start = time.process_time()
        find_numbers(part * times)
        return time.process_time() - start

    seconds(1_000)
    once = min(seconds(6_000) for _ in range(3))
    assert min(seconds(48_000) for _ in range(2)) < 8 * max(once, 0.005) * 3
