"""The steps on images and captions, on figures of articles as a build runs them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figure_steps import (
    IN_BUILD,
    AlignFiguresConfig,
    DetectFiguresConfig,
    FilterFiguresConfig,
    align_captions,
    detect_subfigures,
    filter_figures,
    refine_captions,
    split_by_model,
    split_captions,
)
from phenolip.phenokg.figures.image_features import ImageTower
from phenolip.phenokg.figures.medical_head import MedicalHead, save_head
from phenolip.phenokg.records import CaptionSpan, Drop, Figure, License, LinkedFigure, Subfigure
from phenolip.phenokg.refine_captions import RefineConfig
from phenolip.phenokg.split_by_model import ModelSplitConfig
from phenolip.phenokg.split_captions import SplitConfig, subcaptions_from_spans
from phenolip.phenokg.steps import STEPS, find_step

CAPTION = "Chest CT. (A) A nodule. (B) Atelectasis."


def figure(name="f1", caption=CAPTION, **more):
    return LinkedFigure(
        "PMC1.1", "a/x.xml", None, None, None, "T", "J", None, License(),
        Figure(name, "Figure 1", "", caption, (f"{name}.png",), ("See Figure 1.",)), (), **more,
    )  # fmt: skip


@pytest.fixture
def media(tmp_path):
    (tmp_path / "a").mkdir()
    for name, grey in (("dark", 10), ("light", 240), ("odd", 77)):
        Image.new("RGB", (20, 20), (grey, grey, grey)).save(tmp_path / "a" / f"{name}.png")
    return tmp_path


@pytest.fixture
def head(tmp_path):
    """Dark is medical."""
    path = tmp_path / "head.json"
    save_head(MedicalHead(tower="grey", fingerprint="g", weights=(-1.0,), bias=128.0, provenance={}), path)
    return str(path)


def encode(pictures):
    means = np.array([[np.asarray(picture).mean()] for picture in pictures])
    return np.where(means == 77, np.nan, means)


GREY = ImageTower("grey", "g", encode)


def test_figures_whose_image_is_not_medical_are_left_out(media, head):
    records = [figure(name) for name in ("light", "dark", "odd", "gone")]
    config = FilterFiguresConfig(media=str(media), head=head, batch_size=3)
    outcomes = list(filter_figures(records, config, GREY))
    assert outcomes[1] == records[1]
    assert [(drop.key, drop.reason) for drop in outcomes if isinstance(drop, Drop)] == [
        ("PMC1.1/light", "not_medical"), ("PMC1.1/odd", "not_finite"), ("PMC1.1/gone", "missing_file"),
    ]  # fmt: skip
    kept = list(filter_figures(records[:2], replace(config, min_score=0.0), GREY))
    assert kept == records[:2]
    with pytest.raises(ConfigurationError, match="needs a `tower`"):
        list(filter_figures(records, config))
    with pytest.raises(ConfigurationError, match="`clusters` and `decisions` are not for a build"):
        replace(config, clusters="c.parquet")


def test_captions_are_split_and_one_that_cannot_be_stays_whole():
    split, long = split_captions([figure(), figure(caption=CAPTION * 9)], SplitConfig(max_characters=100))
    assert [(part.label, part.caption) for part in split.caption_parts.subcaptions] == [
        ("A", "Chest CT. A nodule."), ("B", "Chest CT. Atelectasis."),
    ]  # fmt: skip
    assert long == figure(caption=CAPTION * 9)


@pytest.fixture
def compound(media):
    """Two squares of soft light and shadow side by side on white, and one alone."""
    down, across = np.mgrid[:300, :300]
    square = Image.fromarray((127 + 100 * np.sin(across / 40) * np.cos(down / 30)).astype(np.uint8)).convert("RGB")
    canvas = Image.new("RGB", (640, 300), "white")
    canvas.paste(square, (0, 0))
    canvas.paste(square.rotate(90), (340, 0))
    canvas.save(media / "a" / "two.png")
    square.save(media / "a" / "one.png")
    return media


def test_boxes_are_found_and_get_the_text_of_their_labels(compound):
    records = [figure("two"), figure("one"), figure("gone"), figure("two", caption="Two squares.")]
    *found, bare = detect_subfigures(records, DetectFiguresConfig(media=str(compound), batch_size=2))
    two, one, gone = found
    assert (
        len(two.boxes) == 2 and one.boxes == () and (gone.reason, gone.step) == ("missing_file", "detect_subfigures")
    )
    assert [box[0] for box in two.boxes] == pytest.approx([0, 340], abs=4)

    config = AlignFiguresConfig(media=str(compound))
    aligned, single, unparted, whole = align_captions([*split_captions([two, one], SplitConfig()), two, bare], config)
    assert [(part.subfigure_id, part.label, part.caption) for part in aligned.subfigures] == [
        ("s1", "A", "Chest CT. A nodule."), ("s2", "B", "Chest CT. Atelectasis."),
    ]  # fmt: skip
    assert [CAPTION[span.start : span.end] for span in aligned.subfigures[1].spans] == ["Chest CT.", "Atelectasis."]
    assert tuple(part.box for part in aligned.subfigures) == two.boxes
    assert single.subfigures == unparted.subfigures == whole.subfigures == ()

    (labelless,) = align_captions(split_captions([bare], SplitConfig()), config)
    assert [(part.label, part.caption, part.confidence) for part in labelless.subfigures] == [
        ("", "Two squares.", 0.0)
    ] * 2
    (whole,) = align_captions(split_captions([two], SplitConfig()), replace(config, max_boxes=1))
    assert whole.boxes == whole.subfigures == ()


def test_a_split_that_is_not_by_the_rules_stands(compound):
    (two,) = detect_subfigures([figure("two")], DetectFiguresConfig(media=str(compound)))
    parts = subcaptions_from_spans(CAPTION, [], [("first", 14, 23), ("second", 28, 40)])
    (aligned,) = align_captions([replace(two, caption_parts=parts)], AlignFiguresConfig(media=str(compound)))
    assert aligned.caption_parts == parts and [part.label for part in aligned.subfigures] == ["first", "second"]


def test_labelled_subfigures_are_described_and_else_the_figure():
    (split,) = split_captions([figure()], SplitConfig())
    spans = (CaptionSpan(0, 9), CaptionSpan(28, 40))
    labelled = Subfigure("s1", (0, 0, 9, 9), "B", 0.9, "Chest CT. Atelectasis.", spans)
    undecided = Subfigure("s2", (9, 0, 18, 9), "", 0.0, CAPTION, (CaptionSpan(0, len(CAPTION)),))
    records = [replace(split, subfigures=(labelled, undecided)), figure("f2", caption="Brain MRI.")]
    parted, whole = refine_captions(records, RefineConfig())
    assert (parted.subfigures[0].description, parted.subfigures[0].modality) == ("Chest CT. Atelectasis.", "CT")
    assert parted.subfigures[0].described_by == whole.described_by == "rules" and parted.described_by == ""
    assert parted.subfigures[1] == undecided and parted.description == ""
    assert (whole.description, whole.modality) == ("Brain MRI.", "MRI")


def test_figures_of_one_id_keep_their_own_texts():
    """Articles with translations, and careless ones, give an id twice."""
    captions = ["Chest CT.", "Brain MRI.", CAPTION, "(A) Eye. (B) Ear."]
    records = [figure(caption=caption) for caption in captions]
    assert [made.description for made in refine_captions(records, RefineConfig())] == captions
    split = list(split_by_model(records, ModelSplitConfig()))
    assert [[part.caption for part in made.caption_parts.subcaptions] for made in split] == [
        [], [], ["Chest CT. A nodule.", "Chest CT. Atelectasis."], ["Eye.", "Ear."],
    ]  # fmt: skip


def test_a_caption_of_too_many_labels_stays_whole_and_a_split_of_it_stands(compound):
    caption = " ".join(f"({letter}{number}) Eye." for letter in "ABCDEFGHIJKLM" for number in range(1, 10))
    (two,) = detect_subfigures([figure("two", caption=caption)], DetectFiguresConfig(media=str(compound)))
    (whole,) = split_by_model([two], ModelSplitConfig())
    assert whole == two
    (split,) = split_captions([two], SplitConfig(max_labels=200))
    (aligned,) = align_captions([split], AlignFiguresConfig(media=str(compound)))
    assert aligned.caption_parts == split.caption_parts and len(aligned.subfigures) == 2


@pytest.mark.parametrize("step", [refine_captions, split_by_model])
def test_an_endpoint_that_is_gone_ends_the_build(step):
    gone = {"back_end": "openai_compatible", "model": "m", "base_url": "http://127.0.0.1:9/v1", "max_tries": 1}
    config = (RefineConfig if step is refine_captions else ModelSplitConfig)(**gone)
    with pytest.raises(DataError, match="`base_url` http://127.0.0.1:9/v1 answered none of 2 requests"):
        list(step([figure(), figure("f2")], config))


def test_the_chain_takes_figures_where_a_step_alone_takes_files():
    assert set(IN_BUILD) < set(STEPS)
    for name in IN_BUILD:
        step = find_step(name, in_build=True)
        assert (step.takes, step.gives) == (LinkedFigure, LinkedFigure)
        assert find_step(name).takes is not LinkedFigure and find_step(name).version == step.version
