"""A model's knowledge book gives its candidates the texts of its training; without one, nothing changes."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder
from phenolip.inference.model_knowledge import candidate_texts, finding_text, model_knowledge
from phenolip.inference.predict import PhenotypePredictor
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.knowledge_file import write_knowledge
from phenolip.train.finding_texts import finding_writer, load_book

CATARACT = "HP:0000518"


@pytest.fixture
def trained(tiny_model_dir, diamond, tmp_path):
    """A model with a book; its tokenizer counts letters and stops at 64."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    write_knowledge(
        build_knowledge_book(diamond, {CATARACT: "a grey veil. It lies behind the pupil of the eye."}), folder
    )
    return folder


def test_candidates_get_the_texts_of_the_training(trained):
    encoder = Encoder.from_pretrained(trained, "cpu")
    assert encoder.knowledge is not None
    texts = candidate_texts(encoder, {CATARACT: "Cataracts, old name", "HP:7777777": "Unheard of"})
    assert texts == ["Cataract, where Cataract is a grey veil.", "Unheard of"]  # the second sentence does not fit
    assert len(encoder.tokenizer(texts[0])["input_ids"]) <= encoder.max_length
    predictor = PhenotypePredictor.from_pretrained(trained, candidates={CATARACT: "Cataract"}, device="cpu")
    np.testing.assert_allclose(predictor.embeds, encoder.encode_texts(texts[:1]), atol=1e-6)


def test_findings_of_an_image(trained):
    encoder = Encoder.from_pretrained(trained, "cpu")
    text = finding_text(encoder, "cataract", severity="mild", location="left")
    assert text == "mild left Cataract, where Cataract is a grey veil."
    encoder.prompt_template = "an image of a patient who has {} in the eye"
    text = finding_text(encoder, "cataract", severity="mild", location="left")
    assert text == "mild left Cataract"  # with the prompt around it, no explanation fits


def test_training_and_inference_write_one_text(tiny_model_dir, diamond, tmp_path):
    arguments = SimpleNamespace(knowledge="hpo", knowledge_file=None, fine_grained=True)
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    book = load_book(diamond, arguments)
    write_knowledge(book, folder)
    encoder = Encoder.from_pretrained(folder, "cpu")
    write = finding_writer(book, arguments, encoder.tokenizer, encoder.tokenizer.model_max_length)
    for entry in book.entries.values():
        for severity, location in ((None, None), ("mild", "left"), ("mild to moderate", None)):
            finding = {"category": entry.name, "hpo_id": entry.id, "severity": severity, "location": location}
            assert write(finding) == finding_text(
                encoder, entry.name, hpo_id=entry.id, severity=severity, location=location
            )


def test_without_a_book_candidates_are_names(tiny_model_dir):
    assert model_knowledge(tiny_model_dir) is None
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    encoder.prompt_template = "a {} b"
    assert encoder.knowledge is None
    assert candidate_texts(encoder, {CATARACT: "Cata  ract", "x": "none"}) == ["a Cata  ract b", "a none b"]
    assert finding_text(encoder, "Cataract", hpo_id=CATARACT, location="left") == "left Cataract"


def test_a_damaged_book_stops_the_model(trained):
    path = trained / "knowledge.json"
    path.write_text(path.read_text().replace("grey veil", "grey tail"))
    with pytest.raises(ConfigurationError, match="knowledge.json was changed after it was written"):
        Encoder.from_pretrained(trained, "cpu")
