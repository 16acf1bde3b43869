"""Retrieval and zero-shot evaluators on pairs whose answer is known."""

import numpy as np
import pytest
from datasets import Dataset

from phenolip.eval.evaluators.base import EvaluationPairs, MemoEncoder
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator, matching_pairs, scaled_cutoff, transpose
from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator, embed_with_prompts
from phenolip.exceptions import ConfigurationError, DataError

DIRECTIONS = ("i2t", "t2i", "i2p", "p2i")
NAMES = ["Macrocephaly", "Cataract", "Drusen", "Never shown"]


@pytest.fixture
def pairs(helpers):
    return helpers.make_pairs(
        images=["a", "b", "b", "c"],
        captions=["A cat.", "a  CAT.", "Drusen", "Cataract"],
        labels=[["Macrocephaly"], ["Drusen"], ["Drusen", "Cataract"], []],
        candidates=NAMES,
    )


def one_hot(table):
    """An encoder that looks items up in a table of axes."""

    class Lookup:
        def encode_images(self, images):
            return np.eye(8, dtype=np.float32)[[table[image] for image in images]]

        encode_texts = encode_images

    return Lookup()


def test_perfect_encoder_scores_one_with_duplicates_as_matches(pairs):
    table = {"a": 0, "b": 1, "c": 2, "A cat.": 0, "a  CAT.": 1, "Drusen": 1, "Cataract": 2}
    metrics = RetrievalEvaluator(pairs, ks=[1])(one_hot(table | {"Macrocephaly": 0, "Never shown": 5}))
    assert metrics["i2t_hit_at_1"].value == metrics["t2i_hit_at_1"].value == 1.0
    # pair 0: its caption is also pair 1's; pair 1: same caption as 0, same image as 2; pair 2: same image as 1
    assert metrics["i2t_recall_at_1"].value == pytest.approx(np.mean([1 / 2, 1 / 3, 1 / 2, 1]))


def test_phenotype_directions_leave_queries_without_an_answer_out(pairs, encoder):
    metrics = RetrievalEvaluator(pairs)(encoder)
    assert set(metrics) == {
        f"{d}_{kind}_at_{k}" for d in DIRECTIONS for kind in ("hit", "recall") for k in (1, 5, 10, 50)
    }
    assert [metrics[f"{d}_hit_at_1"].n for d in DIRECTIONS] == [4, 4, 3, 3]
    assert metrics["i2p_hit_at_50"].value == metrics["p2i_recall_at_50"].value == 1.0
    assert metrics["i2p_recall_at_1"].chance == pytest.approx(1 / 4)
    assert metrics["i2p_hit_at_1"].chance == pytest.approx(np.mean([1 / 4, 1 / 4, 2 / 4]))
    low, up = metrics["i2t_hit_at_1"].ci95
    assert 0 <= low <= float(metrics["i2t_hit_at_1"]) <= up <= 1


def test_no_labels_leaves_the_phenotype_directions_out(helpers, encoder):
    pairs = helpers.make_pairs(["a", "b"], ["x", "y"], [[], []], [])
    assert {name[:3] for name in RetrievalEvaluator(pairs)(encoder)} == {"i2t", "t2i"}
    assert ZeroShotEvaluator(pairs)(encoder) == {}
    assert ZeroShotEvaluator(pairs).predict(encoder) == []


def test_matching_pairs_equal_the_plain_definition():
    rng = np.random.default_rng(0)
    captions, images = np.unique(rng.integers(0, 9, (2, 40)), return_inverse=True)[1].reshape(2, 40)
    plain = [np.flatnonzero((captions == captions[i]) | (images == images[i])) for i in range(40)]
    for fast, slow in zip(matching_pairs(captions, images), plain, strict=True):
        np.testing.assert_array_equal(fast, slow)


def test_transpose_twice_is_the_identity():
    labels = [np.array([0, 2]), np.array([], int), np.array([2]), np.array([1, 2])]
    twice = transpose(transpose(labels, 4), 4)
    assert [row.tolist() for row in twice] == [row.tolist() for row in labels]


def test_scaled_cutoff_follows_the_number_of_pairs():
    assert [scaled_cutoff(n, 722) for n in (1, 722, 1444, 325)] == [1, 10, 20, 5]


def test_zero_shot_takes_the_mean_over_prompts(pairs, encoder):
    prompts = ["{}", "a photo of {}"]
    embeds = embed_with_prompts(encoder, NAMES, prompts)
    mean = (encoder.vector("Drusen") + encoder.vector("a photo of Drusen")) / 2
    np.testing.assert_allclose(embeds[2], mean / np.linalg.norm(mean), rtol=1e-6)
    evaluator = ZeroShotEvaluator(pairs, prompts=prompts)
    metrics = evaluator(encoder)
    images = pairs.embed_images(encoder)
    best = (images @ embeds.T).argmax(axis=1)
    assert metrics["zero_shot_top1"].value == pytest.approx(np.mean([best[i] in pairs.labels[i] for i in range(3)]))
    assert metrics["zero_shot_top5"].value == 1.0  # four candidates
    assert [prediction.candidates[0] for prediction in evaluator.predict(encoder)] == best.tolist()


@pytest.mark.parametrize("prompts", [[], ["no place"], ["{} {}"], ["{name}"], ["{} {0}"], [3]])
def test_prompts_of_another_form_are_refused(pairs, prompts):
    with pytest.raises(ConfigurationError, match="`prompts` must"):
        ZeroShotEvaluator(pairs, prompts=prompts)


def test_memo_encodes_each_text_and_image_once(pairs, encoder):
    memo = MemoEncoder(encoder)
    shared = RetrievalEvaluator(pairs)(memo)
    ZeroShotEvaluator(pairs)(memo)
    assert encoder.num_images == 3
    assert encoder.num_texts == len(set(pairs.captions) | set(NAMES)) + 3 * len(NAMES)  # three more prompts
    assert shared == RetrievalEvaluator(pairs)(encoder)


class TinyOntology:
    names = {"HP:0000256": "Macrocephaly", "HP:0000518": "Cataract"}

    def resolve(self, hpo_id):
        return {"HP:0200001": "HP:0000256"}.get(hpo_id, hpo_id)

    def __getitem__(self, hpo_id):
        return type("Term", (), {"name": self.names[hpo_id]})


@pytest.fixture
def dataset():
    return Dataset.from_dict(
        {
            "image": ["one", "two", "one"],
            "caption": ["Big head.", "big  head.", "Cloudy lens"],
            "hpo_ids": [["HP:0200001", "HP:0000256"], ["HP:0000518"], []],
            "sha256": ["s1", "s2", "s1"],
            "row_id": ["r1", "r2", "r3"],
        }
    )


def test_pairs_of_a_dataset(dataset):
    pairs = EvaluationPairs.from_dataset(dataset, TinyOntology())
    assert list(pairs.images) == ["one", "two"]
    assert pairs.image_codes.tolist() == [0, 1, 0]
    assert pairs.caption_codes.tolist() == [0, 0, 1]
    assert pairs.candidate_names == ("Macrocephaly", "Cataract")
    assert [row.tolist() for row in pairs.labels] == [[0], [1], []]


def test_labels_outside_the_candidates_are_not_scored(dataset):
    pairs = EvaluationPairs.from_dataset(dataset, TinyOntology(), candidates={"HP:0000518": "Cataract"})
    assert [row.tolist() for row in pairs.labels] == [[], [0], []]


def test_an_empty_dataset_is_refused(dataset):
    with pytest.raises(DataError, match="no usable row"):
        EvaluationPairs.from_dataset(dataset.select([]), TinyOntology())
