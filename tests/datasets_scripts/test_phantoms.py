"""Phantoms: terms that exist, images that repeat, captions that say what is drawn, folders that are whole."""

import hashlib
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phenolip.datasets_scripts.phantoms import (
    MANIFEST,
    PHANTOM_TERMS,
    SCENES,
    SIGNS,
    generate,
    phantom,
    signs_of,
    write_imagefolder,
)
from phenolip.datasets_scripts.phantoms.captions import TEMPLATES, caption
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.reader import load_ontology
from phenolip.train.towers import build_preset

SIZE = 64


@pytest.fixture(scope="module")
def ontology():
    return load_ontology()


@pytest.fixture(scope="module")
def round_of_phantoms():
    """Two blocks of images: every term is the first sign of two of them."""
    return list(generate(2 * len(PHANTOM_TERMS), seed=7, size=SIZE))


def _digest(row) -> str:
    return hashlib.sha256(row.image.tobytes() + row.caption.encode() + "".join(row.hpo_ids).encode()).hexdigest()


def test_terms_are_current_and_named_as_in_the_ontology(ontology):
    for sign in SIGNS.values():
        assert ontology.resolve(sign.id) == sign.id, sign
        term = ontology[sign.id]
        assert term.name == sign.name
        exact = {synonym.text for synonym in term.synonyms if synonym.scope == "EXACT"}
        assert set(sign.synonyms) <= exact, (sign.name, set(sign.synonyms) - exact)


def test_terms_span_many_systems(ontology):
    assert len(PHANTOM_TERMS) >= 40
    assert len({system for hpo_id in PHANTOM_TERMS for system in ontology.systems(hpo_id)}) >= 6


def test_a_term_belongs_to_one_scene_and_exclusive_groups_name_its_signs():
    assert sum(len(scene.signs) for scene in SCENES) == len(PHANTOM_TERMS)
    for scene in SCENES:
        ids = {sign.id for sign in scene.signs}
        assert all(group <= ids and len(group) > 1 for group in scene.exclusive)


def test_images_repeat_and_depend_only_on_seed_and_index(round_of_phantoms):
    again = [phantom(index, seed=7, size=SIZE) for index in (5, 0, 3)]
    assert [_digest(row) for row in again] == [_digest(round_of_phantoms[index]) for index in (5, 0, 3)]
    other_seed, other_words = phantom(5, seed=8, size=SIZE), phantom(5, seed=7, phrasings="heldout", size=SIZE)
    assert other_seed.image.tobytes() != again[0].image.tobytes()
    assert other_words.image.tobytes() == again[0].image.tobytes()
    assert other_words.caption != again[0].caption


def test_every_term_occurs_and_images_hold_one_to_three(round_of_phantoms):
    assert {row.hpo_ids[0] for row in round_of_phantoms} == set(PHANTOM_TERMS)
    assert {len(row.hpo_ids) for row in round_of_phantoms} == {1, 2, 3}
    for row in round_of_phantoms:
        assert len({PHANTOM_TERMS[hpo_id] for hpo_id in row.hpo_ids}) == 1
        assert len(set(row.hpo_ids)) == len(row.hpo_ids)
        assert row.image.mode == "RGB" and row.image.size == (SIZE, SIZE)


def test_terms_are_balanced():
    rows = [signs_of(index, seed=1) for index in range(50 * len(PHANTOM_TERMS))]
    assert set(Counter(hpo_ids[0] for hpo_ids in rows).values()) == {50}
    counts = Counter(hpo_id for hpo_ids in rows for hpo_id in hpo_ids)
    assert max(counts.values()) <= 2 * min(counts.values())


@pytest.mark.slow
def test_captions_mention_every_sign(round_of_phantoms):
    for phrasings in TEMPLATES:
        for index in range(len(round_of_phantoms)):
            row = phantom(index, seed=7, phrasings=phrasings, size=32)
            for hpo_id in row.hpo_ids:
                words = (SIGNS[hpo_id].name, *SIGNS[hpo_id].synonyms)
                assert any(word.casefold() in row.caption.casefold() for word in words), row.caption


def test_phrasings_are_disjoint():
    assert set(TEMPLATES) == {"train", "heldout"}
    assert not set(TEMPLATES["train"]) & set(TEMPLATES["heldout"])
    signs = [SIGNS["HP:0001161"]]
    captions = {
        phrasings: {caption(np.random.default_rng(seed), signs, "photograph", phrasings) for seed in range(300)}
        for phrasings in TEMPLATES
    }
    assert not captions["train"] & captions["heldout"]
    assert len(captions["train"]) > 20


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_signs_of_a_scene_draw_different_images(scene):
    shown = [frozenset(), *(frozenset({sign.id}) for sign in scene.signs)]
    images = {scene.draw(np.random.default_rng(3), ids, SIZE).image.tobytes() for ids in shown}
    assert len(images) == len(shown)


def test_write_imagefolder(tmp_path):
    folder = write_imagefolder(tmp_path / "phantoms", 6, seed=2, phrasings="heldout", size=SIZE, progress=False)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [set(row) for row in rows] == [{"file_name", "caption", "phenotypes", "hpo_ids"}] * 6
    assert all((folder / row["file_name"]).is_file() for row in rows)
    assert [row["phenotypes"] for row in rows] == [[SIGNS[hpo_id].name for hpo_id in row["hpo_ids"]] for row in rows]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["seed"], manifest["num_images"], manifest["phrasings"]) == (2, 6, "heldout")
    assert sum(manifest["images_per_term"].values()) == sum(len(row["hpo_ids"]) for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["phantoms"]


def test_write_imagefolder_replaces_phantoms_and_nothing_else(tmp_path):
    write_imagefolder(tmp_path / "phantoms", 3, seed=2, size=SIZE, progress=False)
    folder = write_imagefolder(tmp_path / "phantoms", 2, seed=3, size=SIZE, progress=False)
    assert len(list((folder / "images").iterdir())) == 2
    own = tmp_path / "photos"
    own.mkdir()
    (own / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no phantoms"):
        write_imagefolder(own, 2, seed=0, size=SIZE, progress=False)
    assert (own / "a.txt").read_text() == "mine"


def test_write_imagefolder_is_all_or_nothing(tmp_path, monkeypatch):
    folder = write_imagefolder(tmp_path / "phantoms", 2, seed=2, size=SIZE, progress=False)
    before = (folder / "metadata.jsonl").read_bytes()

    def fail(*_args, **_keywords):
        raise OSError("disk full")

    monkeypatch.setattr("phenolip.datasets_scripts.phantoms.json.dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        write_imagefolder(folder, 2, seed=5, size=SIZE, progress=False)
    assert (folder / "metadata.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["phantoms"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 0}, "`num_images` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"size": 8}, "`size` must be at least 32, got 8"),
        ({"phrasings": "test"}, "`phrasings` must be one of train, heldout, got 'test'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        generate(**{"num_images": 1, "seed": 0, **arguments})


@pytest.mark.slow
def test_signs_show_in_shapes_and_not_in_colours_or_places(tmp_path):
    """A linear probe on a frozen tower finds the terms; one on thumbnails less than half as often."""
    baseline = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "thumbnail_baseline.py"))
    num_terms, folders = len(PHANTOM_TERMS), (tmp_path / "train", tmp_path / "test")
    for seed, (folder, per_term) in enumerate(zip(folders, (16, 5), strict=True)):
        write_imagefolder(folder, per_term * num_terms, seed=seed, size=128, progress=False)
    thumbnails = baseline["run"](*folders)
    assert thumbnails["num_terms"] == num_terms
    labels = [baseline["load_thumbnails"](folder)[1] for folder in folders]
    first = [ids[0] for ids in labels[0]]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, tol=1e-3)).fit(
        _tower_features(folders[0]), first
    )
    predicted = model.predict(_tower_features(folders[1]))
    probe = np.mean([term in ids for term, ids in zip(predicted, labels[1], strict=True)])
    assert probe > 0.6
    assert thumbnails["top1_in_label_set"] < min(0.25, probe / 2)


def _tower_features(folder: Path) -> np.ndarray:
    """Features (n, width) of the vision tower of the preset `mini`, as it comes from ImageNet."""
    model, processor = build_preset("mini", image_size=128)
    files = sorted((folder / "images").iterdir())
    features = []
    with torch.inference_mode():
        for start in range(0, len(files), 64):
            images = [Image.open(file).convert("RGB") for file in files[start : start + 64]]
            pixels = processor(images=images, return_tensors="pt")
            features.append(model.vision_model.eval()(**pixels).pooler_output.flatten(1).numpy())
    return np.concatenate(features)


def test_regions_say_where_each_sign_was_drawn(round_of_phantoms):
    for row in round_of_phantoms:
        assert set(row.regions) == set(row.hpo_ids) and all(row.regions.values()), row.hpo_ids
        for boxes in row.regions.values():
            assert all(0 <= x0 < x1 <= SIZE and 0 <= y0 < y1 <= SIZE for x0, y0, x1, y1 in boxes)


@pytest.mark.parametrize("hpo_id", ["HP:0000995", "HP:0033655", "HP:0100309", "HP:0000567"])
def test_a_region_is_where_the_image_changes(hpo_id):
    """The same drawing without its sign differs inside the region and hardly outside."""
    scene = next(scene for scene in SCENES if scene.name == PHANTOM_TERMS[hpo_id])
    canvases = []
    for shown in (frozenset({hpo_id}), frozenset()):
        with pytest.MonkeyPatch.context() as patch:
            module = sys.modules[scene.draw.__module__]
            finish = "photograph" if hasattr(module, "photograph") else "radiograph"
            patch.setattr(module, finish, lambda rng, canvas, **_: canvas.finished())
            for detail in ("_bones", "_hairs", "_aperture", "_disc", "_vessels", "_heart"):
                patch.setattr(module, detail, lambda *_, **__: None, raising=False)
            canvases.append(scene.draw(np.random.default_rng(4), shown, 128))
    shown, plain = (np.asarray(drawing.image, dtype=int) for drawing in canvases)
    inside = np.zeros((128, 128), dtype=bool)
    for x0, y0, x1, y1 in canvases[0].regions[hpo_id]:
        inside[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    changed = np.abs(shown - plain).max(axis=2) > 60
    assert changed[inside].mean() > 0.1  # a crescent fills little of its box
    assert changed[~inside].mean() < 0.02
