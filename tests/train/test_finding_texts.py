"""The texts of findings: what each switch adds, the limit of the text tower, and the same words at inference."""

import json

import pytest

from phenolip.ontology.knowledge_file import read_knowledge, write_knowledge
from phenolip.train.data import ImageTextPairs
from phenolip.train.finding_texts import finding_writer, load_book
from phenolip.train.matching_arguments import MatchingArguments

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
