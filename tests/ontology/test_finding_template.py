"""The template of findings: closed forms, truncation against a linear search, slots left out by chance."""

import itertools
import random

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.explanations import shorten
from phenolip.ontology.finding_template import FindingSlots, compose, count_words, mask_slots

FLUID = "fluid between lung and chest wall"


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        (("mild", "left", "effusion", FLUID), f"mild left effusion, where effusion is {FLUID}."),
        ((None, "left", "effusion", FLUID), f"left effusion, where effusion is {FLUID}."),
        (("mild", None, "effusion", FLUID), f"mild effusion, where effusion is {FLUID}."),
        ((None, None, "effusion", FLUID), f"effusion, where effusion is {FLUID}."),
        (("mild", "left", "pleural effusion", None), "mild left pleural effusion"),
        ((None, None, "Pleural effusion", ""), "Pleural effusion"),
        (("mild to moderate", "left lower lobe", "edema", None), "mild to moderate left lower lobe edema"),
        (("NA", "mask", "edema", "none"), "edema, where edema is none."),  # an explanation is no slot of an extraction
        ((" mild ", "\tleft\n base", " edema  of lung ", " a\n haze "), "mild left base edema of lung, where edema of "
         "lung is a haze."),
    ],
)  # fmt: skip
def test_what_is_empty_is_left_out(slots, text):
    assert compose(*slots) == text


@pytest.mark.parametrize(
    ("explanation", "said"),
    [
        ("A shadow.", "a shadow."),
        ("The presence of air", "the presence of air."),
        ("EEG waves;", "EEG waves."),
        ("X-ray shadow", "X-ray shadow."),
        ("Crohn's ulcers", "Crohn's ulcers."),
        ("A shadow. It is round.", "a shadow. It is round."),
        ("Edema is a haze (white) .", "a haze (white)."),
        ("An edema is a haze", "a haze."),
        ("This term refers to a haze", "a haze."),
    ],
)
def test_first_letter_and_final_stop(explanation, said):
    assert compose(None, None, "Edema", explanation) == f"Edema, where Edema is {said}"


@pytest.mark.parametrize(
    ("severity", "location", "name", "text"),
    [
        ("mild", None, "Mild myopia", "Mild myopia"),
        ("mild", None, "Mildly reduced vision", "mild Mildly reduced vision"),  # a word of its own only
        (None, "left", "Left atrial enlargement", "Left atrial enlargement"),
        (None, "bilateral lower lobe", "Bilateral opacity", "lower lobe Bilateral opacity"),
        (None, "left base and right apex", "Right apex opacity", "left base Right apex opacity"),
        ("acute", "right", "Fracture", "acute right Fracture"),
    ],
)
def test_what_the_name_says_is_not_said_again(severity, location, name, text):
    assert compose(severity, location, name) == text


def letters(text):
    return len(text)


@pytest.mark.parametrize("count", [count_words, letters])
def test_truncation_never_cuts_the_triplet_and_keeps_as_much_as_fits(count):
    words = "dark light round edge lobe with of the a wall haze. Then more: shadow (thin) line".split()
    draw = random.Random(0)
    for _ in range(150):
        explanation = " ".join(draw.choices(words, k=draw.randint(1, 14)))
        slots = (draw.choice([None, "mild"]), draw.choice([None, "left base"]), draw.choice(["mass", "large mass"]))
        triplet, whole = compose(*slots), compose(*slots, explanation)
        limit = draw.randint(1, count(whole) + 2)
        text = compose(*slots, explanation, max_tokens=limit, count_tokens=count)
        assert text.startswith(triplet)
        assert count(text) <= max(limit, count(triplet))
        assert text == triplet or text.startswith(f"{triplet}, where {slots[2]} is ")
        if count(whole) <= limit:
            assert text == whole
        elif text != triplet:
            assert text.endswith(".") and text.split()[-1].strip(".") not in {"of", "the", "a", "with", ""}


def test_shorten_equals_a_linear_search():
    draw = random.Random(1)
    for _ in range(200):
        sentences = [" ".join(["Word", *draw.choices("ab cd efg (hi jkl) the of".split(), k=draw.randint(0, 5))])
                     for _ in range(draw.randint(1, 4))]  # fmt: skip
        text, limit = ". ".join(sentences), draw.randint(1, 60)
        starts = list(itertools.accumulate(sentences, lambda a, b: f"{a}. {b}"))
        whole = [text] if len(text) <= limit else []
        fitting = whole or [f"{part}." for part in starts[:-1] if len(part) + 1 <= limit]
        found = shorten(text, lambda part, limit=limit: len(part) <= limit)
        if fitting:
            assert found == fitting[-1]
        else:
            assert text.startswith(found) and len(found) <= limit
            longer = [text[:end] for end in range(len(found) + 1, limit + 1) if text[end : end + 1] in (" ", "")]
            # what is longer and fits ends with a word that leads on, or inside a bracket
            assert all(
                part.split()[-1].strip(".(") in {"the", "of", "", "hi"} or part.count("(") > part.count(")")
                or part.rstrip(" .") == found for part in longer
            )  # fmt: skip


def test_a_measure_that_is_not_monotone_is_still_obeyed():
    text = compose(None, None, "mass", "a b c d e f g h", max_tokens=50, count_tokens=lambda t: 100 - len(t))
    assert text == "mass" or 100 - len(text) <= 50


def test_a_long_explanation_is_cut_fast():
    calls = []
    explanation = " ".join(["word"] * 100_000)
    text = compose("mild", None, "mass", explanation, max_tokens=20, count_tokens=lambda t: calls.append(1) or len(t))
    assert text == "mild mass" and len(calls) < 40


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_a_name_is_needed(name):
    with pytest.raises(ConfigurationError, match="`name` must hold at least one word"):
        compose("mild", None, name)


def test_limits_are_checked():
    with pytest.raises(ConfigurationError, match="`max_tokens` must be at least 1, got 0"):
        compose(None, None, "mass", max_tokens=0)
    with pytest.raises(ConfigurationError, match="`probability` must be from 0 to 1, got 1.5"):
        mask_slots(FindingSlots(None, None, "mass"), 1.5, np.random.default_rng(0))


def test_slots_are_left_out_independently_and_never_the_name():
    slots = FindingSlots("mild", "left", "mass", FLUID)
    rng = np.random.default_rng(0)
    drawn = [mask_slots(slots, 0.3, rng) for _ in range(4000)]
    kept = np.array([[s.severity is not None, s.location is not None, s.explanation is not None] for s in drawn])
    assert all(s.name == "mass" for s in drawn)
    np.testing.assert_allclose(kept.mean(axis=0), 0.7, atol=0.03)
    assert np.abs(np.corrcoef(kept.T) - np.eye(3)).max() < 0.06
    assert mask_slots(slots, 0.0, rng) == slots
    assert mask_slots(slots, 1.0, rng) == FindingSlots(None, None, "mass", None)


def test_what_is_empty_draws_as_much_as_what_is_full():
    full, empty = np.random.default_rng(5), np.random.default_rng(5)
    mask_slots(FindingSlots("mild", "left", "mass", FLUID), 0.5, full)
    mask_slots(FindingSlots(None, None, "mass"), 0.5, empty)
    assert full.random() == empty.random()
