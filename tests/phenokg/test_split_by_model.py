"""Captions split by a model: parts are looked up, what is not found is split by rules, with the reason."""

import json
import os
import time
from pathlib import Path

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.chat import Failure
from phenolip.phenokg.captions.located_parts import NamedPart, NamedParts, find_parts
from phenolip.phenokg.records import CaptionedFigure, Drop, SplitCaption
from phenolip.phenokg.split_by_model import ModelSplitConfig, run, split_figures
from phenolip.phenokg.split_captions import split_caption

DATA = os.environ.get("PHENOLIP_TEST_DATA")
CAPTION = "Chest CT. (A) Normal lung. (B) A nodule (arrow), and (C) a nodule. Bar = 1 cm."


class Says:
    model_id = "says"

    def __init__(self, answers):
        self.answers, self.num_asked = answers, 0

    def complete(self, conversations, *, schema=None, max_new_tokens=1024):
        for place, _ in enumerate(conversations):
            self.num_asked += 1
            parts = [dict(zip(("label", "text", "start"), part, strict=True)) for part in self.answers[place]]
            yield place, json.dumps({"subcaptions": parts})


def split(caption, parts, **settings):
    (outcome,) = split_figures([CaptionedFigure("f", caption)], Says([parts]), None, ModelSplitConfig(**settings))
    return outcome


def captions_of(outcome):
    return {part.label: part.caption for part in outcome.split.subcaptions}


def test_a_good_answer_gives_the_parts_and_the_background():
    parts = [("A", "Normal lung.", 0), ("(B)", "A nodule (arrow)", 40), ("C", "a nodule", 900)]
    outcome = split(CAPTION, parts)
    assert outcome.failure == "" and captions_of(outcome) == {
        "A": "Chest CT. Normal lung. Bar = 1 cm.", "B": "Chest CT. A nodule (arrow) Bar = 1 cm.",
        "C": "Chest CT. a nodule. Bar = 1 cm.",
    }  # fmt: skip
    for part in outcome.split.subcaptions:
        assert 0 <= part.start < part.end <= len(CAPTION)
    assert CAPTION[outcome.split.subcaptions[2].start :].startswith("a nodule. Bar")


def test_of_equal_words_the_nearest_is_taken_whatever_the_model_counted():
    caption = "(A) Mass. (B) Mass."
    for start, place in ((-5, 0), (2, 0), (11, 10), (10**9, 10)):
        ((_, found, _),) = find_parts(caption, NamedParts([NamedPart("B" if place else "A", "Mass.", start)]))
        assert found == place  # of the label in front
    found = find_parts("CT.\n(A) Left  Lung", NamedParts([NamedPart("A", "left lung", 0)]))
    assert found == [("A", 4, 18)]


@pytest.mark.parametrize(
    "parts",
    [
        [("A", "words of no caption", 10)], [("A", "", 0)], [("A", " .", 0)], [("", "Normal lung.", 14)],
        [("A" * 41, "Normal lung.", 14)], [("A", "Normal lung.", 0), ("B", "lung. (B) A nodule", 0)],
        [("A", "Normal lung.", 0)] * 201, [("A", CAPTION * 2, 0)],
    ],
)  # fmt: skip
def test_answers_that_are_not_of_the_caption_are_split_by_rules(parts):
    outcome = split(CAPTION, parts)
    assert outcome.failure == "wrong_span"
    assert (outcome.split.background, outcome.split.subcaptions) == split_caption(CAPTION)


def test_labels_of_a_range_share_their_text_and_a_label_may_have_two_texts():
    parts = [("A", "Normal lungs.", 0), ("B", "Normal lungs.", 0), ("C", "Mass.", 0), ("C", "Also cyst.", 0)]
    outcome = split("CT. (A, B) Normal lungs. (C) Mass. Arrows. Also cyst.", parts)
    found = captions_of(outcome)
    assert found["A"] == found["B"] == "CT. Normal lungs. Arrows." and found["C"] == "CT. Mass. Arrows. Also cyst."


def test_a_caption_of_one_word_takes_no_time():
    caption = "a " * 4000
    began = time.process_time()
    for text in ("a  " * 2000, "a  " * 2000 + "b", "b"):
        for start in (0, 50, 10**6):
            found = find_parts(caption, NamedParts([NamedPart("A", text, start)]))
            assert isinstance(found, Failure) == ("b" in text)
    assert time.process_time() - began < 2


def test_labels_after_their_text():
    outcome = split("Normal lung (A) and a nodule (B).", [("A", "Normal lung", 0), ("B", "a nodule", 0)])
    assert captions_of(outcome) == {"A": "Normal lung", "B": "a nodule"}


def test_no_parts_is_an_answer():
    outcome = split("Chest CT of a man.", [])
    assert outcome.failure == "" and not outcome.split.subcaptions
    assert [(span.start, span.end) for span in outcome.split.background] == [(0, 18)]


def test_every_caption_ends_in_parts_and_a_second_run_asks_for_what_is_missing(chat_server, tmp_path):
    reasons = {"": "", "BEHAVE broken": "invalid_answer", "BEHAVE wrong": "wrong_span",
               "BEHAVE refuse": "refusal", "BEHAVE wrong-once": "", "BEHAVE error": "server_error"}  # fmt: skip
    figures = [CaptionedFigure(f"f{n}", f"CT. {text} (A) Lung. (B) Mass.") for n, text in enumerate(reasons)]
    cache = AnswerCache(tmp_path / "answers.sqlite")
    config = ModelSplitConfig(max_characters=100)
    long = CaptionedFigure("long", "(A) Lung. (B) Mass. " * 10)
    made = split_figures([*figures, long], chat_server.model(max_tries=2), cache, config)
    assert [each.failure for each in made] == [*reasons.values(), "too_long"]
    assert [each.split.figure for each in made] == [*(figure.figure for figure in figures), "long"]
    assert all([part.label for part in each.split.subcaptions] == ["A", "B"] for each in made[:-1])
    before = chat_server.texts
    assert split_figures([*figures, long], chat_server.model(max_tries=2), cache, config) == made
    assert len(chat_server.texts - before) == sum(map(bool, reasons.values()))


def test_the_step_keeps_order_and_hands_drops_on(chat_server):
    dropped = Drop("before", "a", "reason")
    given = [
        dropped,
        CaptionedFigure("blank", " "),
        CaptionedFigure("f", CAPTION),
        CaptionedFigure("g", "BEHAVE filter"),
    ]
    settings = {"back_end": "openai_compatible", "model": "m", "base_url": chat_server.url}
    made = list(run(given, ModelSplitConfig(**settings)))
    assert made[0] is dropped and made[1].reason == "no_caption"
    assert [each.figure for each in made[2:]] == ["f", "g"] and len(made[2].subcaptions) == 3
    plain = list(run(given[2:3], ModelSplitConfig()))
    assert plain == [SplitCaption("f", *split_caption(CAPTION))]
    with pytest.raises(ConfigurationError, match="`max_characters` must be 1 or more, got 0"):
        ModelSplitConfig(max_characters=0)


@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_parts_that_rules_find_in_real_captions_are_found_again():
    rows = map(json.loads, Path(DATA, "compound", "captions_prostate.jsonl").open(encoding="utf-8"))
    captions = [row["caption"] for row in rows][:80]
    num_found = 0
    for caption in captions:
        parts = [NamedPart(part.label, caption[part.start : part.end], 0) for part in split_caption(caption)[1]]
        found = find_parts(caption, NamedParts(parts))
        num_found += not isinstance(found, Failure)
        for _, start, end in () if isinstance(found, Failure) else found:
            assert 0 <= start < end <= len(caption)
    assert num_found > 0.9 * len(captions)


def test_a_caption_of_too_many_labels_is_a_drop_and_the_next_is_split():
    many = " ".join(f"({letter}{number}) Eye." for letter in "ABCDEFGHIJKLM" for number in range(1, 10))
    drop, made = run([CaptionedFigure("many", many), CaptionedFigure("f", CAPTION)], ModelSplitConfig())
    assert (drop.key, drop.reason) == ("many", "too_many_labels") and "got 117" in drop.detail
    assert [part.label for part in made.subcaptions] == ["A", "B", "C"]
    (outcome,) = split_figures([CaptionedFigure("many", many)], Says([[("A", "Lung", 0)]]), None, ModelSplitConfig())
    assert isinstance(outcome.split, Drop) and outcome.failure == "wrong_span"
