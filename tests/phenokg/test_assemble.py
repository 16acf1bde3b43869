"""Every figure and subfigure is a pair or a Drop, and says why."""

import hashlib
from dataclasses import replace

import imagehash
import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.assemble import AssembleConfig, run
from phenolip.phenokg.records import (
    CaptionSpan,
    Drop,
    Figure,
    FigurePair,
    License,
    LinkedFigure,
    PhenotypeLink,
    Subfigure,
)


def link(assertion="present"):
    return PhenotypeLink("HP:0001250", "Seizure", 0, 8, "Seizures", assertion, "name", 1.0, "wording")


def figure(graphics=("f1.png",), caption="Seizures  here.", category="commercial", links=None, own=None, **ids):
    return LinkedFigure(
        "PMC1.2", "a/x.xml", **{"pmcid": "PMC1", "version": 2, "doi": "10.1/x"} | ids, title="T", journal="J",
        published="2019", license=License(category, "CC-BY-4.0"), links=(link(),) if links is None else links,
        figure=Figure("fig1", "Figure 1", "", caption, graphics, ("See Figure 1.",), license=own),
    )  # fmt: skip


@pytest.fixture
def media(tmp_path):
    (tmp_path / "a").mkdir()
    Image.linear_gradient("L").save(tmp_path / "a" / "f1.png")
    Image.new("RGB", (9, 9), "white").save(tmp_path / "a" / "blank.png")
    return tmp_path


def outcome(record, media, **settings):
    (made,) = run([record], AssembleConfig(media=str(media), **settings))
    return made


def test_a_pair_holds_what_the_table_needs(media):
    pair = outcome(figure(), media)
    data = (media / "a" / "f1.png").read_bytes()
    assert isinstance(pair, FigurePair)
    assert (pair.image_path, pair.sha256) == ("a/f1.png", hashlib.sha256(data).hexdigest())
    with Image.open(media / "a" / "f1.png") as image:
        assert pair.phash == str(imagehash.phash(image.convert("RGB"))) and len(pair.phash) == 16
    assert (pair.width_px, pair.height_px, pair.num_images) == (256, 256, 1)
    assert pair.caption == pair.caption_raw == "Seizures  here."
    assert pair.caption_sha256 == hashlib.sha256(b"seizures here.").hexdigest()
    assert pair.phenotypes == (link(),) and pair.citing_paragraphs == ("See Figure 1.",)
    assert pair.url == "https://pmc.ncbi.nlm.nih.gov/articles/PMC1/"
    assert outcome(figure(pmcid=None), media).url == "https://doi.org/10.1/x"
    assert outcome(figure(pmcid=None, doi=None), media).url == ""


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (figure(graphics=()), "no_graphic"),
        (figure(graphics=("f2.png",)), "missing_file"),
        (figure(graphics=("../f1.png",)), "unsafe_href"),
        (figure(graphics=("blank.png",)), "blank_image"),
    ],
)
def test_what_is_left_out_and_why(media, record, reason):
    drop = outcome(record, media)
    assert isinstance(drop, Drop)
    assert (drop.step, drop.key, drop.reason) == ("assemble", "PMC1.2/fig1", reason)
    assert drop.detail.endswith(".")


def test_files_above_a_size_are_left_out(media):
    assert outcome(figure(), media, max_pixels=100).reason == "too_large_image"
    assert outcome(figure(), media, max_image_bytes=100).reason == "too_large_image"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_side": 0}, "`min_side` must be at least 1, got 0"),
        ({"max_pixels": 0}, "`max_pixels` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        AssembleConfig(media=".", **settings)


CAPTION = "A hand. (a) Seizures. (b) Normal. (c) Seizures."


def compound(**more):
    """Two rows of two: a gradient, black, the same gradient, and a thin strip."""
    links = (link(), link("absent"))
    parts = [
        ("s1", (0, 0, 120, 120), "a", "A hand. Seizures.", (0, 7, 12, 21)),
        ("s2", (136, 0, 256, 120), "b", "A hand. Normal.", (0, 7, 26, 33)),
        ("s3", (0, 136, 120, 256), "a", "A hand. Seizures.", (0, 7, 12, 21)),
        ("s4", (136, 136, 256, 160), "c", "A hand. Seizures.", (0, 7, 38, 47)),
        ("s5", (136, 170, 256, 256), "", CAPTION, (0, len(CAPTION))),
    ]
    subfigures = tuple(
        Subfigure(name, box, label, 0.9 if label else 0.0, text, tuple(map(CaptionSpan, spans[::2], spans[1::2])))
        for name, box, label, text, spans in parts
    )
    first = replace(links[0], start=12, end=20)
    return replace(figure(("f.png",), CAPTION, links=(first,)), subfigures=subfigures, modality="MRI", **more)


@pytest.fixture
def picture(media):
    canvas = Image.new("RGB", (256, 256))
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for corner in ((0, 0), (0, 136), (136, 170)):
        canvas.paste(Image.fromarray(noise).resize((120, 120)), corner)
    canvas.save(media / "a" / "f.png")
    return canvas


def test_every_subfigure_is_a_pair_or_a_drop(media, picture):
    made = list(run([compound()], AssembleConfig(media=str(media))))
    reasons = {drop.key: drop.reason for drop in made if isinstance(drop, Drop)}
    assert reasons == {
        "PMC1.2/fig1/s2": "no_phenotype", "PMC1.2/fig1/s3": "near_duplicate", "PMC1.2/fig1/s4": "small_subfigure",
    }  # fmt: skip
    first, last = (pair for pair in made if isinstance(pair, FigurePair))
    assert (first.subfigure_id, first.bbox_xyxy, first.label) == ("s1", (0, 0, 120, 120), "Figure 1 a")
    assert first.caption == first.subcaption == "A hand. Seizures." and first.caption_raw == CAPTION
    assert first.phash == str(imagehash.phash(picture.crop((0, 0, 120, 120)))) and first.modality == "MRI"
    assert [CAPTION[link.start : link.end] for link in first.phenotypes] == ["Seizures"]
    assert (last.subfigure_id, last.subcaption, last.caption, last.alignment_confidence) == ("s5", "", CAPTION, 0.0)
    assert len(last.phenotypes) == 1 and last.sha256 == first.sha256


def test_a_description_is_what_is_trained_on_and_the_original_stays(media, picture):
    record = compound()
    told = replace(record.subfigures[0], description="A seizure.", modality="CT")
    (pair, *_) = run([replace(record, subfigures=(told, *record.subfigures[1:]))], AssembleConfig(media=str(media)))
    assert (pair.caption, pair.subcaption, pair.modality) == ("A seizure.", "A hand. Seizures.", "CT")


def test_a_figure_that_may_not_be_changed_stays_whole(media, picture):
    record = replace(compound(), license=License("no-derivatives"), description="Told.", described_by="rules")
    (pair,) = run([record], AssembleConfig(media=str(media)))
    assert (pair.subfigure_id, pair.caption, pair.caption_by) == (None, CAPTION, "article")
    (told,) = run([replace(record, license=License("commercial"), subfigures=())], AssembleConfig(media=str(media)))
    assert (told.caption, told.caption_by) == ("Told.", "rules")


def test_a_figure_none_of_whose_parts_is_labelled_stays_whole(media, picture):
    record = compound()
    parts = tuple(replace(part, label="") for part in record.subfigures)
    (pair,) = run([replace(record, subfigures=parts)], AssembleConfig(media=str(media)))
    assert (pair.subfigure_id, pair.bbox_xyxy, pair.caption) == (None, None, CAPTION)
    assert pair.alignment_confidence is None
