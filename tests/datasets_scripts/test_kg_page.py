"""The page of a build shows every figure with boxes and caption in matching colours, and holds nothing but data."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.kg_page import caption_pieces, label_colors, write_page
from phenolip.exceptions import DataError
from phenolip.phenokg.parts import Part, parquet_bytes, write_whole
from phenolip.phenokg.records import (
    CaptionSpan,
    Drop,
    Figure,
    FigurePair,
    License,
    LinkedFigure,
    PhenotypeLink,
    SplitCaption,
    Subcaption,
    Subfigure,
    to_table,
)
from phenolip.phenokg.table_files import TableFiles, read_manifest, write_manifest

CAPTION = "Hands. (a, b) Long fingers. (c) No <b>seizures</b>."
PARTS = tuple(
    Subcaption(label, start, end, "", (CaptionSpan(start, end),))
    for label, start, end in (("a", 14, 27), ("b", 14, 27), ("c", 32, 51))
)
LINKS = (
    PhenotypeLink("HP:0100807", "Long fingers", 14, 26, "Long fingers", "present", "name", 1.0, "x"),
    PhenotypeLink("HP:0001250", "Seizure", 38, 46, "seizures", "absent", "name", 1.0, "x"),
)


def record(name="F1", graphics=("f.png",)):
    return LinkedFigure(
        "PMC1.1", "a/x.xml", "PMC1", 1, None, "On <hands>", "J", None, License("commercial", "CC-BY-4.0"),
        Figure(name, "Figure 1", "", CAPTION, graphics), LINKS,
        caption_parts=SplitCaption(name, (CaptionSpan(0, 6),), PARTS),
        boxes=((0, 0, 30, 40), (32, 0, 60, 40)),
        subfigures=(
            Subfigure("s1", (0, 0, 30, 40), "a", 0.9, "Hands.", (CaptionSpan(0, 6),), "A hand.", "X-ray"),
            Subfigure("s2", (32, 0, 60, 40), "", 0.0, CAPTION, (CaptionSpan(0, 51),)),
        ),
    )  # fmt: skip


@pytest.fixture
def build(tmp_path):
    """A finished build of two figures, the second without a file."""
    media, output = tmp_path / "media", tmp_path / "build"
    (media / "a").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(media / "a" / "f.png")
    records = [record(), record("F2", ("gone.png",))]
    source = output / "02-link_phenotypes"
    source.mkdir(parents=True)
    write_whole(Part(source, 0).records_path, parquet_bytes(to_table(records, LinkedFigure)))
    pair = FigurePair(
        "PMC1.1", "F1", "a/f.png", "", "", 60, 40, 1, "Figure 1 a", "A hand.", CAPTION, "", LINKS, License(), "",
        subfigure_id="s1", bbox_xyxy=(0, 0, 30, 40),
    )  # fmt: skip
    with TableFiles(output) as tables:
        tables.add_pairs(to_table([pair], FigurePair), np.zeros(1, np.int8))
        tables.add_drops(to_table([Drop("assemble", "PMC1.1/F2", "missing_file", "x")], Drop))
        files = tables.publish()
    steps = {"parse_articles": {}, "link_phenotypes": {}, "assemble": {"media": str(media)}, "split_pairs": {}}
    counts = {"in": 2, "out": 1, "dropped": {"missing_file": 1}}
    write_manifest(
        output, {"identity": "x", "tables": files, "config": {"steps": steps}, "steps": {"assemble": counts}}
    )
    return output


def test_pieces_make_up_the_caption_and_know_their_labels_and_mention():
    pieces = caption_pieces(record())
    assert "".join(piece.text for piece in pieces) == CAPTION
    assert [(piece.text, piece.labels, piece.link and piece.link.name) for piece in pieces] == [
        ("Hands. (a, b) ", (), None), ("Long fingers", ("a", "b"), "Long fingers"), (".", ("a", "b"), None),
        (" (c) ", (), None), ("No <b>", ("c",), None), ("seizures", ("c",), "Seizure"), ("</b>.", ("c",), None),
    ]  # fmt: skip
    colors = label_colors(record())
    assert len(set(colors.values())) == 3 and pieces[1].color == colors["a"] and pieces[0].color == ""
    whole = replace(record(), caption_parts=None, links=())
    assert [piece.text for piece in caption_pieces(whole)] == [CAPTION] and label_colors(whole) == {}


def test_the_page_shows_boxes_text_and_outcome_and_escapes_what_is_data(build):
    page = write_page(build).read_text()
    assert page.count("<section>") == 2 and page.count("<svg") == 1 and page.count("data:image/jpeg;base64,") == 1
    assert '<rect x="32" y="0" width="28" height="40"' in page and '<rect x="0" y="0" width="30" height="40"' in page
    color = label_colors(record())["a"]
    assert len(re.findall(f'stroke="{color}"', page)) == 1 and f'style="border-color: {color}"' in page
    for text in ("On &lt;hands&gt;", "&lt;b&gt;", "pair (train)", "missing file", "undecided", "A hand.", "X-ray"):
        assert text in page, text
    assert "<b>" not in page and "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_figures_that_a_step_left_out_follow_where_there_are_few(build):
    manifest = read_manifest(build)
    settings = manifest["config"]["steps"]
    steps = {"parse_articles": {}, "select_figures": {}, "filter_figures": {}, "assemble": settings["assemble"]}
    for place, records in ((2, [record(), record("F2"), record("F3")]), (3, [record("F2")])):
        folder = build / f"{place:02d}-{list(steps)[place - 1]}"
        folder.mkdir()
        write_whole(Part(folder, 0).records_path, parquet_bytes(to_table(records, LinkedFigure)))
    write_manifest(build, manifest | {"config": {"steps": steps}})
    names = re.findall("<h2>PMC1.1/(F[0-9])", write_page(build).read_text())
    assert names[0] == "F2" and sorted(names) == ["F1", "F2", "F3"]
    assert re.findall("<h2>PMC1.1/(F[0-9])", write_page(build, number=2).read_text()) == names[:2]


def test_the_sample_is_drawn_by_hash(build, tmp_path):
    one = write_page(build, tmp_path / "one.html", number=1).read_text()
    assert one.count("<section>") == 1 and not (build / "figures.html").exists()
    assert one == write_page(build, tmp_path / "two.html", number=1).read_text()
    with pytest.raises(DataError, match="`number` must be at least 1, got 0"):
        write_page(build, number=0)
