"""The steps on images and captions, on figures of articles as a build runs them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.figure_steps import (
    IN_BUILD,
    FilterFiguresConfig,
    filter_figures,
    refine_captions,
    split_captions,
)
from phenolip.phenokg.image_features import ImageTower
from phenolip.phenokg.medical_head import MedicalHead, save_head
from phenolip.phenokg.records import CaptionSpan, Drop, Figure, License, LinkedFigure, Subfigure
from phenolip.phenokg.refine_captions import RefineConfig
from phenolip.phenokg.split_captions import SplitConfig
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


def test_captions_are_split_and_one_that_cannot_be_stays_whole():
    split, long = split_captions([figure(), figure(caption=CAPTION * 9)], SplitConfig(max_characters=100))
    assert [(part.label, part.caption) for part in split.caption_parts.subcaptions] == [
        ("A", "Chest CT. A nodule."), ("B", "Chest CT. Atelectasis."),
    ]  # fmt: skip
    assert long == figure(caption=CAPTION * 9)


def test_labelled_subfigures_are_described_and_else_the_figure():
    (split,) = split_captions([figure()], SplitConfig())
    spans = (CaptionSpan(0, 9), CaptionSpan(28, 40))
    labelled = Subfigure("s1", (0, 0, 9, 9), "B", 0.9, "Chest CT. Atelectasis.", spans)
    undecided = Subfigure("s2", (9, 0, 18, 9), "", 0.0, CAPTION, (CaptionSpan(0, len(CAPTION)),))
    records = [replace(split, subfigures=(labelled, undecided)), figure("f2", caption="Brain MRI.")]
    parted, whole = refine_captions(records, RefineConfig())
    assert (parted.subfigures[0].description, parted.subfigures[0].modality) == ("Chest CT. Atelectasis.", "CT")
    assert parted.subfigures[1] == undecided and parted.description == ""
    assert (whole.description, whole.modality) == ("Brain MRI.", "MRI")


def test_the_chain_takes_figures_where_a_step_alone_takes_files():
    assert set(IN_BUILD) < set(STEPS)
    for name in IN_BUILD:
        step = find_step(name, in_build=True)
        assert (step.takes, step.gives) == (LinkedFigure, LinkedFigure)
        assert find_step(name).takes is not LinkedFigure and find_step(name).version == step.version
