"""Short forms and what they stand for."""

import pytest

from phenolip.phenokg.linking.abbreviations import find_abbreviations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an atrial septal defect (ASD) was", [("ASD", "atrial septal defect")]),
        ("a tall stature (TS), short neck (SN)", [("TS", "tall stature"), ("SN", "short neck")]),
        ("intra-uterine growth retardation (IUGR; n=3)", [("IUGR", "intra-uterine growth retardation")]),
        ("patients (male)", []),
        ("seen in two boys (XYZ)", []),
        ("(ASD) alone", []),
        ("the defect (D)", []),
    ],
)  # fmt: skip
def test_long_forms(text, expected):
    assert [(found.short, text[found.start : found.end]) for found in find_abbreviations(text)] == expected


def test_time_does_not_grow_with_what_stands_before_a_bracket():
    text = "a " * 200_000 + "(ASD)"
    assert find_abbreviations(text) == []
