"""Predictions: candidates from a file, from the model, from the ontology; ranks, probabilities, cached names."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference.candidates import all_candidates, model_candidates, read_candidates
from phenolip.inference.encoder import Encoder
from phenolip.inference.hierarchy import lin_relatives, mix_embeds, with_ancestors
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


def test_texts_and_relatives_change_the_embeddings_and_are_kept(tiny_model_dir, tmp_path, diamond, image, monkeypatch):
    options = {"ontology": diamond, "device": "cpu", "cache_dir": tmp_path / "cache"}
    texts = ["definition", "name", "synonyms"]
    plain = PhenotypePredictor.from_pretrained(tiny_model_dir, **options)
    many = PhenotypePredictor.from_pretrained(tiny_model_dir, texts=texts, **options)
    mixed = PhenotypePredictor.from_pretrained(tiny_model_dir, texts=texts, hierarchy=True, **options)
    cataract, head = (plain.hpo_ids.index(hpo_id) for hpo_id in ("HP:0000518", "HP:0000152"))
    assert plain.hpo_ids == many.hpo_ids == mixed.hpo_ids
    assert not np.allclose(plain.embeds[cataract], many.embeds[cataract], atol=1e-4)
    np.testing.assert_allclose(plain.embeds[head], many.embeds[head], atol=1e-5)  # it has a name only
    expected = mix_embeds(many.embeds, lin_relatives(diamond, many.hpo_ids))
    np.testing.assert_allclose(mixed.embeds, expected, atol=1e-5)
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_texts", lambda *_: pytest.fail("the embeddings are in the cache"))
        again = PhenotypePredictor.from_pretrained(tiny_model_dir, texts=texts, hierarchy=True, **options)
    np.testing.assert_array_equal(again.embeds, mixed.embeds)


def test_kept_embeddings_are_not_those_of_another_release_or_length(tiny_model_dir, tmp_path, diamond):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "phenotypes.json").write_text('[{"hpo_id": "HP:0100018", "name": "Nuclear cataract"}]')
    renamed = [replace(diamond[i], name="Milky pupil" if i == "HP:0000518" else diamond[i].name) for i in diamond]

    def embeds(ontology, cache="cache"):
        options = {"device": "cpu", "cache_dir": tmp_path / cache, "texts": ["name", "synonyms"], "hierarchy": True}
        return PhenotypePredictor.from_pretrained(folder, ontology=ontology, **options).embeds

    first, later = embeds(diamond), PhenotypeOntology(renamed, release="2001-01-01")
    np.testing.assert_array_equal(embeds(later), embeds(later, "fresh"))
    assert not np.allclose(embeds(later), first, atol=1e-4)  # the candidate is the same, its parent is not
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 3}))
    assert not np.allclose(embeds(diamond), first, atol=1e-4)


def test_few_candidates_lean_on_their_ancestors(tiny_model_dir, diamond):
    chosen = {"HP:0100018": "Nuclear cataract", "HP:9000000": "Old name of the lens"}
    predictor = PhenotypePredictor.from_pretrained(
        tiny_model_dir, candidates=chosen, ontology=diamond, device="cpu", hierarchy=True
    )
    assert predictor.hpo_ids == ("HP:0100018", "HP:0000517")  # the current id
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    terms = with_ancestors(diamond, predictor.hpo_ids)
    names = encoder.encode_texts([diamond[hpo_id].name for hpo_id in terms])
    expected = mix_embeds(names, lin_relatives(diamond, terms))[:2]
    np.testing.assert_allclose(predictor.embeds, expected, atol=1e-5)
    with pytest.raises(UnknownTermError, match="HP:1234567"):
        PhenotypePredictor.from_pretrained(
            tiny_model_dir, candidates={"HP:1234567": "x"}, ontology=diamond, device="cpu", texts=["name", "synonyms"]
        )


def test_trees_sum_all_candidates_below(tiny_model_dir, diamond, image):
    chosen = {hpo_id: hpo_id for hpo_id in ("HP:0000518", "HP:9000000", "HP:0000517", "HP:0000369")}  # one term twice
    predictor = PhenotypePredictor(Encoder.from_pretrained(tiny_model_dir, "cpu"), chosen)
    scores = predictor.score([image])
    np.testing.assert_allclose(scores.probabilities.sum(), 1)
    (trees,) = predictor.trees(scores, diamond, top=4)
    sums = {tree.name: tree.probability for tree in trees}
    ears = scores.probabilities[0, 3]
    assert sums.pop("Abnormality of the eye") == pytest.approx(1 - ears)
    assert list(sums.values()) == [pytest.approx(ears)]
    (eye,) = (tree for tree in trees if tree.hpo_id == "HP:0000478")
    assert [node.hpo_id for node in eye.children] == ["HP:0000517"]
    assert eye.children[0].probability == pytest.approx(1 - ears)


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
