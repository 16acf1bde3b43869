"""Every figure is one pair or one Drop, and says why."""

import hashlib

import imagehash
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.assemble import AssembleConfig, run
from phenolip.phenokg.records import Drop, Figure, FigurePair, License, LinkedFigure, PhenotypeLink


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
        (figure(category="unknown"), "no_license"),
        (figure(caption=" "), "no_caption"),
        (figure(links=()), "no_phenotype"),
        (figure(links=(link("absent"),)), "no_phenotype"),
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


def test_settings_widen_and_narrow(media):
    assert isinstance(outcome(figure(links=()), media, require_phenotype=False), FigurePair)
    assert isinstance(outcome(figure(links=(link("absent"), link("family"))), media), FigurePair)
    assert isinstance(outcome(figure(category="unknown"), media, licenses=("unknown",)), FigurePair)
    assert outcome(figure(category="non-commercial"), media, licenses=("commercial",)).reason == "license_not_wanted"
    assert outcome(figure(), media, max_pixels=100).reason == "too_large_image"
    assert outcome(figure(), media, max_image_bytes=100).reason == "too_large_image"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"licenses": ("free",)}, "`licenses` must be some of commercial, .*, got"),
        ({"licenses": ()}, "`licenses` must be some of"),
        ({"max_pixels": 0}, "`max_pixels` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        AssembleConfig(media=".", **settings)
