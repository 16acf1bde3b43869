"""The texts of findings: what each switch adds, the limit of the text tower, and the same words at inference."""

import json

import numpy as np
import pytest
import torch

from phenolip.ontology.knowledge_file import read_knowledge, write_knowledge
from phenolip.ontology.text import is_held_out
from phenolip.train.data import ImageTextPairs
from phenolip.train.finding_texts import finding_rewriter, finding_writer, load_book
from phenolip.train.findings import number_findings
from phenolip.train.matching_arguments import MatchingArguments
from phenolip.train.text_slots import TextSlots

from .conftest import tiny_tokenize

SQUARE = {"category": "box", "severity": "mild", "location": "left", "hpo_id": "HP:9900004"}
HATCHING = {"category": "hatching", "severity": "severe", "location": None, "hpo_id": None}


@pytest.fixture
def write(ontology, tiny_model_dir, tmp_path):
    """Function that writes findings with some switches on."""
    tokenizer = tiny_tokenize(tiny_model_dir).tokenizer

    def make(max_length=200, **switches):
        if "knowledge_file" in switches:
            path = tmp_path / "overlay.json"
            path.write_text(json.dumps(switches["knowledge_file"]))
            switches["knowledge_file"] = str(path)
        arguments = MatchingArguments(text_unit="entity", **switches)
        book = load_book(ontology, arguments)
        return finding_writer(book, arguments, tokenizer, max_length), book, tokenizer

    return make


def test_each_switch_adds_its_part(write, ontology):
    name = ontology["HP:9900004"].name
    assert write()[0](SQUARE) == name and write()[0](HATCHING) == "hatching"
    assert write(fine_grained=True)[0](SQUARE) == f"mild left {name}"
    given = {"hatching": "Thin parallel lines."}
    flat, *_ = write(fine_grained=True, knowledge="flat", knowledge_file=given)
    assert flat(HATCHING) == "severe hatching, where hatching is thin parallel lines."
    assert flat(SQUARE) == f"mild left {name}"  # the release says what it is, the file does not
    hpo, *_ = write(knowledge="hpo", knowledge_file=given)
    assert hpo(HATCHING) == "hatching, where hatching is thin parallel lines."
    assert hpo(SQUARE).startswith(f"{name}, where {name} is ") and ontology["HP:9900004"].definition


def test_a_long_explanation_gives_way_and_the_triplet_stays(write):
    given = {"hatching": "Thin parallel lines that cross the whole of the picture from one side to the other."}
    short, _, tokenizer = write(max_length=60, fine_grained=True, knowledge="flat", knowledge_file=given)
    text = short(HATCHING)
    assert text.startswith("severe hatching, where hatching is thin") and len(tokenizer(text)["input_ids"]) <= 60
    shorter, *_ = write(max_length=5, fine_grained=True, knowledge="flat", knowledge_file=given)
    assert shorter(HATCHING) == "severe hatching"


def test_the_book_beside_the_model_writes_the_same(write, tmp_path):
    trained, book, _ = write(fine_grained=True, knowledge="hpo")
    write_knowledge(book, tmp_path)
    read = read_knowledge(tmp_path / "knowledge.json")
    for one in (SQUARE, HATCHING):
        again = read.prompt(one["category"], hpo_id=one["hpo_id"], severity=one["severity"], location=one["location"])
        assert trained(one) == again


def test_grayscale_takes_the_colour_out(pair_rows):
    settings = {"image_size": 32, "min_crop_area": 1.0, "color_jitter": 0.0, "seed": 0}
    image = ImageTextPairs(pair_rows, grayscale=True, **settings)[(0, 0)]["image"]
    assert (image == image[:, :, :1]).all()
    colour = ImageTextPairs(pair_rows, **settings)[(0, 0)]["image"]
    assert not (colour == colour[:, :, :1]).all()


@pytest.fixture
def rewrite(ontology, tiny_model_dir):
    """Function that makes a writer of changing texts."""

    def make(seed=0, **switches):
        arguments = MatchingArguments(text_unit="entity", knowledge="hpo", **switches)
        book, tokenizer = load_book(ontology, arguments), tiny_tokenize(tiny_model_dir).tokenizer
        return finding_rewriter(book, arguments, tokenizer, 200, seed=seed)

    return make


def test_each_part_goes_by_its_chance(rewrite):
    assert rewrite() is None
    drop = rewrite(fine_grained=True, slot_dropout=0.25)
    texts = [drop(SQUARE, epoch, row, 0) for epoch in range(20) for row in range(20)]
    shares = [np.mean([part in text for text in texts]) for part in ("mild", "left", "where Square shape is")]
    assert np.allclose(shares, 0.75, atol=0.08) and all("Square shape" in text for text in texts)
    assert rewrite(fine_grained=True, slot_dropout=1.0)(SQUARE, 0, 0, 0) == "Square shape"
    assert "mild" not in rewrite(slot_dropout=0.01)(SQUARE, 0, 0, 0)  # without `fine_grained` it is never said


def test_synonyms_are_exact_ones_that_no_test_asks_for(rewrite, ontology):
    named = rewrite(slot_dropout=1.0, synonym_probability=0.5)
    seen = {named(SQUARE, epoch, 3, 0) for epoch in range(200)}
    exact = {one.text for one in ontology[SQUARE["hpo_id"]].synonyms if one.scope == "EXACT"}
    usable = {text for text in exact if not is_held_out(SQUARE["hpo_id"], text)}
    assert seen == usable | {"Square shape"} and len(seen) > 1


def test_a_text_depends_on_seed_epoch_row_and_slot_alone(rewrite):
    first, again, other = (rewrite(seed=seed, fine_grained=True, slot_dropout=0.5) for seed in (1, 1, 2))
    keys = [(epoch, row, slot) for epoch in range(3) for row in range(3) for slot in range(3)]
    texts = [first(SQUARE, *key) for key in keys]
    assert texts == [again(SQUARE, *key) for key in reversed(keys)][::-1]
    assert texts != [other(SQUARE, *key) for key in keys]
    assert all(len(set(texts[start::step][:3])) > 1 for start, step in ((0, 9), (0, 1)))


def test_slots_read_the_epochs_texts_and_keep_numbers_and_features(rewrite, tiny_model_dir):
    findings = number_findings([[SQUARE, HATCHING], [], [SQUARE]], lambda one: str(one["severity"]), max_findings=2)
    assert findings.sources == [SQUARE, HATCHING]
    features = {"knowledge_embeds": np.float32([[1], [2]])}
    seen, change = [], rewrite(fine_grained=True, slot_dropout=0.5)
    read = tiny_tokenize(tiny_model_dir)
    slots = TextSlots(findings, features, tokenize=lambda texts: seen.append(texts) or read(texts), rewrite=change)
    whole, changed = slots([2, 0, 1]), slots([2, 0, 1], [4, 4, 5])
    assert seen[0] == ["mild", "", "mild", "severe", "", ""]
    expected = [change(SQUARE, 4, 2, 0), "", change(SQUARE, 4, 0, 0), change(HATCHING, 4, 0, 1), "", ""]
    assert seen[1] == expected
    for name in ("text_ids", "category_ids", "knowledge_embeds"):
        assert torch.equal(whole[name], changed[name])
