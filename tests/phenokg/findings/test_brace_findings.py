"""Answers in braces, good and broken; a slow reference for random ones; time that grows with the length."""

import random
import re
import time
from collections import Counter

import pytest

from phenolip.phenokg.findings.brace_findings import Slots, fold, read_braces


@pytest.mark.parametrize(
    ("text", "expected", "dropped"),
    [
        ("{Mild}{left base}{Atelectasis}", [("mild", "left base", "atelectasis")], {}),
        ("{mask}{NA}{effusion}, {n/a}{none}{x}.", [(None, None, "effusion"), (None, None, "x")], {}),
        ("{No}{NA}{pleural}{effusion}", [("no", "pleural", "effusion")], {}),
        ("{small}{left}{lung}{nodule}", [("small", "left lung", "nodule")], {}),
        ("{a} {b}\n{c}", [("a", "b", "c")], {}),
        ("{a}{b}{ }", [("a", "b", None)], {}),
        ("no braces at all", [], {}),
        ("", [], {}),
        ("{a}{b}, {a}{b}{c}{d}{e}", [], {"wrong_number_of_slots": 2}),
        ("{a}{b}{c, {d}{e}{f}", [("d", "e", "f")], {"unclosed_brace": 1}),
        ("}}{a}{b}{c}}", [("a", "b", "c")], {}),
        ("{a}{b}{c}{", [], {"unclosed_brace": 1}),
        ("{a}{b}{" + "c" * 300 + "}", [], {"slot_too_long": 1}),
    ],
)
def test_answers(text, expected, dropped):
    assert read_braces(text) == ([Slots(*slots) for slots in expected], Counter(dropped))


def test_slots_are_folded():
    assert fold("  Left\n Base. ") == "left base" and fold("MASK") is None and fold(None) is None


@pytest.mark.parametrize("seed", range(20))
def test_of_well_formed_text_nothing_is_lost(seed):
    """Groups without stray braces, against what a regular expression finds."""
    draw = random.Random(seed)
    text = "".join(draw.choice(["{ab}", "{c d}", ", ", " ", ". ", "x"]) for _ in range(200))
    runs = [re.findall(r"\{([^}]*)\}", run) for run in re.findall(r"\{[^}]*\}(?:\s*\{[^}]*\})*", text)]
    found, dropped = read_braces(text)
    assert len(found) == sum(len(run) in (3, 4) for run in runs)
    assert dropped.total() == sum(len(run) not in (3, 4) for run in runs)


@pytest.mark.parametrize("piece", ["{", "}", "{}", "{a}", "{{a}", "}{", "{a} "])
def test_the_time_grows_with_the_length(piece):
    start = time.process_time()
    read_braces(piece * 100_000)
    assert time.process_time() - start < 2
