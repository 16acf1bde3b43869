"""Predictions: candidates from a file, from the model, from the ontology; ranks, probabilities, cached names."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.candidates import all_candidates, model_candidates, read_candidates
from phenolip.inference.encoder import Encoder
from phenolip.inference.predict import PhenotypePredictor
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym

CANDIDATES = {"HP:0000518": "Cataract", "HP:0000369": "Low-set ears", "HP:0001166": "Arachnodactyly"}


@pytest.fixture(scope="module")
def ontology():
    root = PhenotypeTerm("HP:0000118", "Phenotypic abnormality")
    terms = [
        PhenotypeTerm(
            i,
            name,
            parents=(root.id,),
            synonyms=(Synonym(f"{name} synonym", "EXACT", None),),
            alt_ids=("HP:9000000",) if name == "Cataract" else (),
        )
        for i, name in CANDIDATES.items()
    ]
    return PhenotypeOntology([root, *terms], release="2000-01-01")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return str(path)


def test_ranks_by_cosine_with_probabilities_over_the_candidates(tiny_model_dir, image):
    predictor = PhenotypePredictor.from_pretrained(tiny_model_dir, candidates=CANDIDATES, device="cpu")
    (rows,) = predictor([image], top=10)
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    cosines = encoder.encode_texts(list(CANDIDATES.values())) @ encoder.encode_images([image])[0]
    assert [row.name for row in rows] == [list(CANDIDATES.values())[i] for i in np.argsort(-cosines)]
    np.testing.assert_allclose([row.cosine for row in rows], np.sort(cosines)[::-1], atol=1e-6)
    odds = np.exp(np.sort(cosines)[::-1] * encoder.logit_scale)
    np.testing.assert_allclose([row.probability for row in rows], odds / odds.sum(), rtol=1e-4)
    assert predictor([image], top=1)[0] == rows[:1]


def test_candidates_default_to_those_stored_with_the_model(tiny_model_dir, tmp_path, image):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    assert model_candidates(folder) is None
    (folder / "phenotypes.json").write_text(json.dumps([{"hpo_id": i, "name": n} for i, n in CANDIDATES.items()]))
    predictor = PhenotypePredictor.from_pretrained(folder, device="cpu")
    assert predictor.hpo_ids == tuple(CANDIDATES)
    (folder / "phenotypes.json").write_text('["Cataract"]')
    with pytest.raises(DataError, match=r"phenotypes\.json must be a list"):
        PhenotypePredictor.from_pretrained(folder, device="cpu")


def test_names_of_the_whole_ontology_are_encoded_once(tiny_model_dir, tmp_path, ontology, image, monkeypatch):
    options = {"ontology": ontology, "device": "cpu", "cache_dir": tmp_path / "cache"}
    first = PhenotypePredictor.from_pretrained(tiny_model_dir, **options)
    assert first.hpo_ids == tuple(all_candidates(ontology))
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_texts", lambda *_: pytest.fail("the names are in the cache"))
        second = PhenotypePredictor.from_pretrained(tiny_model_dir, **options)
    assert first([image]) == second([image])
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(b"damaged")
    assert PhenotypePredictor.from_pretrained(tiny_model_dir, **options)([image]) == first([image])


def test_a_file_of_candidates(ontology, tmp_path):
    text = tmp_path / "some.txt"
    text.write_text("# eyes\n\nHP:9000000\nlow-set ears\nArachnodactyly synonym\nCataract\n")
    assert list(read_candidates(text, ontology)) == ["HP:0000518", "HP:0000369", "HP:0001166"]
    rows = tmp_path / "some.json"
    rows.write_text('[{"hpo_id": "HP:0000518"}, "Low-set ears"]')
    assert list(read_candidates(rows, ontology).values()) == ["Cataract", "Low-set ears"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.txt", "HP:0000518\nCatarakt\n", "line 2: 'Catarakt' is no id"),
        ("a.txt", "# nothing\n", "at least one phenotype"),
        ("a.json", '{"hpo_id": 1', "must be a JSON list"),
        ("a.json", '[{"id": 1}]', "must be a JSON list"),
    ],
)
def test_a_wrong_file_of_candidates_is_named(ontology, tmp_path, name, content, match):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=match):
        read_candidates(tmp_path / name, ontology)


def test_a_missing_file_of_candidates_is_named(ontology, tmp_path):
    with pytest.raises(DataError, match=r"missing\.txt must be a readable"):
        read_candidates(tmp_path / "missing.txt", ontology)


def test_wrong_calls_are_named(tiny_model_dir, image):
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    with pytest.raises(ConfigurationError, match="`top` must be at least 1"):
        PhenotypePredictor(encoder, CANDIDATES)([image], top=0)
    with pytest.raises(DataError, match="at least one phenotype"):
        PhenotypePredictor(encoder, {})
    with pytest.raises(ConfigurationError, match="encodes text only"):
        PhenotypePredictor(Encoder(encoder.model.text_model, encoder.tokenizer), CANDIDATES)
