"""Figures go on, or are dropped for a reason that needs no image."""

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import Drop, Figure, License, LinkedFigure, PhenotypeLink
from phenolip.phenokg.select_figures import SelectConfig, run


def figure(*assertions, caption="Seizures here.", category="commercial", text=""):
    links = tuple(
        PhenotypeLink("HP:0001250", "Seizure", 0, 8, "Seizures", one, "name", 1.0, "x") for one in assertions
    )
    return LinkedFigure(
        "PMC1.2", "x.xml", None, None, None, "T", "J", None, License(category, text=text),
        Figure("f1", "", "", caption, ("f1.png",)), links,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (figure("present", category="unknown"), "no_license", "It states no licence."),
        (
            figure("present", category="unknown", text="All mine"),
            "no_license",
            "Its licence is not known: 'All mine'.",
        ),
        (figure("present", caption=" "), "no_caption", "The figure has no caption."),
        (figure(), "no_phenotype", "The caption names none."),
        (figure("absent", "family"), "no_phenotype", "All that the caption names is denied, of relatives, or past."),
    ],
)
def test_what_is_left_out_and_why(record, reason, detail):
    assert list(run([record], SelectConfig())) == [Drop("select_figures", "PMC1.2/f1", reason, detail)]


def test_the_others_go_on_in_their_order_and_settings_widen_and_narrow():
    kept = [figure("present"), figure("absent", "uncertain"), figure("family", "present")]
    assert list(run([kept[0], figure(), *kept[1:]], SelectConfig()))[::2] == [kept[0], kept[1]]
    assert [one for one in run(kept, SelectConfig())] == kept
    assert list(run([figure()], SelectConfig(require_phenotype=False))) == [figure()]
    closed = figure("present", category="unknown")
    assert list(run([closed], SelectConfig(licenses=("unknown",)))) == [closed]
    (drop,) = run([figure("present", category="non-commercial")], SelectConfig(licenses=("commercial",)))
    assert drop.reason == "license_not_wanted"


@pytest.mark.parametrize("licenses", [("free",), ()])
def test_kinds_that_do_not_exist(licenses):
    with pytest.raises(ConfigurationError, match="`licenses` must be some of commercial, .*, got"):
        SelectConfig(licenses=licenses)
