"""Forms of one word meet; words that only look alike do not."""

import pytest

from phenolip.phenokg.linking.words import Role, Separator, role_of, separator_of, singular, stem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tumours", "tumor"), ("oedema", "edema"), ("haemorrhages", "hemorrhage"), ("foetal", "fetal"),
        ("leukaemia", "leukemia"), ("oesophagus", "esophagus"), ("diarrhoea", "diarrhea"), ("dyspnoea", "dyspnea"),
        ("naevi", "nevus"), ("vertebrae", "vertebra"), ("hemangiomata", "hemangioma"), ("teeth", "tooth"),
        ("Kidneys", "kidney"), ("fibres", "fiber"), ("phalanges", "phalanx"), ("caecum", "cecum"),
    ],
)  # fmt: skip
def test_plurals_and_spellings_meet(one, other):
    assert singular(one) == singular(other)
    assert stem(one) == stem(other)


@pytest.mark.parametrize("word", ["arthritis", "stenosis", "iris", "pus", "abscess", "nevus", "pneumoniae"])
def test_words_that_end_like_plurals_stay(word):
    assert singular(word) == word


@pytest.mark.parametrize(("one", "other"), [("gingivitis", "gingiva"), ("tendonitis", "tendon"), ("iritis", "iris")])
def test_an_inflammation_is_no_form_of_its_organ(one, other):
    assert stem(one) != stem(other)


def test_roles():
    roles = [role_of(word) for word in ("The", "of", "with", "OR", "without", "nails")]
    assert roles == [Role.FILLER, Role.LINK, Role.WALL, Role.CONJUNCTION, Role.BARRIER, Role.CONTENT]


@pytest.mark.parametrize(
    ("gap", "separator"),
    [
        (" ", Separator.BLANK), ("\n", Separator.BLANK), ("'", Separator.BLANK), ("-", Separator.HYPHEN),
        (", ", Separator.COMMA), ("/", Separator.SLASH), (" (", Separator.BRACKET), ("), ", Separator.BRACKET),
        (". ", Separator.STOP), (").\n", Separator.STOP), ("; ", Separator.STOP), ("\n\n", Separator.STOP),
        (".", Separator.BLANK),
    ],
)  # fmt: skip
def test_separators(gap, separator):
    assert separator_of(gap) is separator
