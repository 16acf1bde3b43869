"""What stands behind the page, without a browser."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from phenolip.demo import html
from phenolip.demo.catalog import Catalog
from phenolip.demo.examples import SHOWN, draw_examples
from phenolip.demo.service import MAX_UPLOAD_MB, DemoModel, open_upload
from phenolip.exceptions import DataError
from phenolip.inference.encoder import Encoder
from phenolip.inference.predict import PhenotypePrediction, PhenotypePredictor
from phenolip.inference.prediction_tree import TreeNode
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm

EYE, LENS, CATARACT, EARS = "HP:0000478", "HP:0000517", "HP:0000518", "HP:0000598"


@pytest.fixture(scope="module")
def ontology():
    terms = [
        PhenotypeTerm("HP:0000118", "Phenotypic abnormality"),
        PhenotypeTerm(EYE, "Abnormality of the eye", parents=("HP:0000118",)),
        PhenotypeTerm(LENS, "Abnormal lens morphology", parents=(EYE,)),
        PhenotypeTerm(CATARACT, "Cataract", definition="Opacity <of the lens>.", parents=(LENS,)),
        PhenotypeTerm(EARS, "Abnormality of the ear", parents=("HP:0000118",)),
    ]
    return PhenotypeOntology(terms, release="2000-01-01")


@pytest.fixture(scope="module")
def model(tiny_model_dir, ontology):
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    candidates = {i: ontology[i].name for i in (LENS, CATARACT, EARS)}
    return DemoModel(PhenotypePredictor(encoder, candidates), ontology, "stage2")


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, ontology):
    folder = tmp_path_factory.mktemp("pairs")
    rows = []
    for number, hpo_ids in enumerate([[CATARACT], [LENS, CATARACT], [EARS], [LENS]]):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "caption": f"Image {number}.", "hpo_ids": hpo_ids})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return Catalog(folder, ontology)


def test_scores_tree_and_map(model, picture):
    scores = model.score(picture)
    best = model.predictor.best(scores, top=2)[0]
    assert len(best) == 2 and sum(scores.probabilities[0]) == pytest.approx(1)
    assert {node.hpo_id for node in model.tree(scores, 3)} == {EYE, EARS}
    assert model.map_over(picture, CATARACT).size == (448, 448)
    with pytest.raises(DataError, match="HP:0000478 is not among the 3 candidates"):
        model.map_over(picture, EYE)


def test_a_warm_start_changes_no_answer(model, picture):
    before = model.score(picture).cosines
    model.warm_up(picture)
    np.testing.assert_array_equal(model.score(picture).cosines, before)


def test_gradient_maps_of_two_users_at_once_are_those_of_one(model, picture):
    """A map by gradients changes how the tower attends while it is made; a race is rare, so this may miss it."""
    alone = np.asarray(model.map_over(picture, CATARACT, "gradient"))
    with ThreadPoolExecutor(4) as pool:
        maps = list(pool.map(lambda _: model.map_over(picture, CATARACT, "gradient"), range(12)))
    for one in maps:
        np.testing.assert_allclose(np.asarray(one), alone, atol=1)


def test_queries_are_terms_or_texts(model):
    by_name, by_id = model.text_embed(" cataract "), model.text_embed(CATARACT)
    np.testing.assert_array_equal(by_name, by_id)
    assert not np.allclose(by_name, model.text_embed("a cat"))
    for text in ("  ", "x" * 2001):
        with pytest.raises(DataError, match="A query must have 1 to 2,000 characters"):
            model.text_embed(text)


def test_counts_with_descendants_equal_a_plain_count(catalog, ontology):
    for hpo_id in ontology.term_ids():
        below = set(ontology.descendants(hpo_id, include_self=True))
        expected = [n for n, row in enumerate(catalog.rows) if below & set(row["hpo_ids"])]
        node = catalog.node(hpo_id)
        assert catalog.images_of(hpo_id).tolist() == expected and node.num_images == len(expected)
        assert node.num_own == sum(hpo_id in row["hpo_ids"] for row in catalog.rows)
    assert [(node.hpo_id, node.num_images) for node in catalog.children()] == [(EYE, 3), (EARS, 1)]
    assert catalog.children(CATARACT) == []


def test_search_gives_the_nearest(catalog, model):
    encoder = model.predictor.encoder
    query = encoder.encode_images([catalog.rows[2]["image"]])[0]
    found = catalog.search(encoder, query, 2)
    assert found[0].caption == "Image 2." and found[0].cosine == pytest.approx(1, abs=1e-5)
    assert len(found) == 2 and found[0].cosine >= found[1].cosine
    assert [one.cosine for one in catalog.show([0, 1])] == [None, None]


def test_uploads_are_limited(tmp_path):
    with pytest.raises(DataError, match="Choose an image first"):
        open_upload(None)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not an image in one of the formats"):
        open_upload(str(tmp_path / "a.png"))
    (tmp_path / "big.png").write_bytes(bytes(MAX_UPLOAD_MB * 2**20 + 1))
    with pytest.raises(DataError, match="at most 10 MB"):
        open_upload(str(tmp_path / "big.png"))
    Image.new("1", (6000, 5000)).save(tmp_path / "bomb.png")  # 4 kB that would become 90 MB
    with pytest.raises(DataError, match="6000 x 5000 pixels, more than the 24,000,000 allowed"):
        open_upload(str(tmp_path / "bomb.png"))


def test_words_of_data_are_escaped(ontology):
    evil = "<script>alert(1)</script>"
    parts = [
        html.bars([PhenotypePrediction(CATARACT, evil, 0.5, 0.25)]),
        html.tree([TreeNode(EYE, evil, 0.5, False, [TreeNode(LENS, evil, 0.5, True)])]),
        html.definition(ontology, CATARACT),
        html.picture(Image.new("RGB", (8, 8)), f'{evil}"'),
        html.images([(Image.new("RGB", (8, 8)), evil)]),
    ]
    assert not any("<script>" in part or "<of" in part for part in parts)
    assert parts[3].count('"') == 6 and html.images([]) == "<p>No images.</p>"
    assert "25.0 %" in parts[0] and "width:25.00%" in parts[0]
    assert "Abnormality of the eye &rsaquo; Abnormal lens morphology &rsaquo; Cataract" in parts[2]
    assert "not for diagnosis" in html.notice()


def test_examples_are_single_signs(tmp_path):
    paths = draw_examples(tmp_path)
    assert len(paths) == len(SHOWN) and all(Image.open(path).size == (320, 320) for path in paths)
