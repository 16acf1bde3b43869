"""`evaluate.load` on the folders of metrics: the library itself, offline, against the plain functions."""

from pathlib import Path

import numpy as np
import pytest

from phenolip.eval.metrics.answer_ranks import answer_ranks, score_ranks
from phenolip.eval.metrics.calibration import brier_score, fit_temperature, softmax
from phenolip.eval.metrics.rank_metrics import at_k, average_precision
from phenolip.eval.metrics.thresholds import threshold_metrics

METRICS = Path(__file__).parents[2] / "eval" / "metrics"
RNG = np.random.default_rng(0)


@pytest.fixture
def load(tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lambda name: evaluate.load(str(METRICS / name), cache_dir=str(tmp_path), experiment_id=name)


def test_every_folder_is_listed_here():
    folders = {path.parent.name for path in METRICS.glob("*/*.py") if path.stem == path.parent.name}
    assert folders == {"retrieval_scores", "threshold_scores", "calibration_scores", "hierarchical_scores"}


def test_retrieval_scores(load):
    scores = RNG.integers(0, 4, (6, 9)) / 4  # with ties
    relevant = [sorted(RNG.choice(9, size, replace=False).tolist()) for size in (1, 2, 3, 1, 4, 2)]
    found = load("retrieval_scores").compute(predictions=scores.tolist(), references=relevant, ks=[1, 3])
    ranks = score_ranks(scores, relevant)
    hit, precision, recall = (values.mean() for values in at_k(ranks, 3))
    assert (found["hit_at_3"], found["precision_at_3"], found["recall_at_3"]) == pytest.approx(
        (hit, precision, recall)
    )
    assert found["mean_average_precision"] == pytest.approx(average_precision(ranks).mean())


def test_threshold_scores(load):
    scores, labels = RNG.random((40, 3)), RNG.integers(0, 2, (40, 3))
    module = load("threshold_scores")
    oracle = module.compute(predictions=scores.tolist(), references=labels.tolist())
    expected = threshold_metrics(scores, labels, fit_on="test").macro()
    assert oracle == pytest.approx(expected | {"num_classes_scored": 3})
    fitted = module.compute(
        predictions=scores[:20].tolist(),
        references=labels[:20].tolist(),
        validation_predictions=scores[20:].tolist(),
        validation_references=labels[20:].tolist(),
    )
    assert "macro_f1_val_fitted" in fitted and "macro_f1_oracle" not in fitted


def test_calibration_scores(load):
    logits, labels = RNG.normal(size=(50, 4)), RNG.integers(0, 4, 50)
    module = load("calibration_scores")
    plain = module.compute(predictions=logits.tolist(), references=labels.tolist())
    assert plain["brier"] == pytest.approx(brier_score(softmax(logits), labels))
    fitted = module.compute(
        predictions=logits[:25].tolist(),
        references=labels[:25].tolist(),
        validation_predictions=logits[25:].tolist(),
        validation_references=labels[25:].tolist(),
    )
    assert fitted["temperature"] == pytest.approx(fit_temperature(logits[25:], labels[25:]))


def test_hierarchical_scores(load):
    found = load("hierarchical_scores").compute(
        predictions=["HP:9900004", "HP:9900003"],  # the label itself, and its sibling: one of two ancestors is shared
        references=[["HP:9900004"], ["HP:9900004"]],
        hpo=str(METRICS.parents[1] / "tests" / "ontology" / "hp_slice.obo"),
    )
    assert found["hierarchical_f1"] == found["hierarchical_recall"] == 0.75 and found["lca_depth"] == 1.5
    assert 0.5 < found["lin_similarity"] < 1


def test_score_ranks_are_those_of_embeddings():
    embeds = RNG.normal(size=(7, 5)).astype(np.float32)
    relevant = [np.array([row, (row + 1) % 7]) for row in range(7)]
    ours, theirs = score_ranks(embeds @ embeds.T, relevant), answer_ranks(embeds, embeds, relevant)
    assert ours.above.tolist() == theirs.above.tolist() and ours.tied.tolist() == theirs.tied.tolist()


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        ([[np.nan, 1.0]], [[0]], "`scores` must be a finite table"),
        ([[0.5, 1.0]], [], "one set for each query, got 0 for 1"),
        ([[0.5, 1.0]], [[]], r"row 0 must hold distinct columns below 2, got \[\]"),
        ([[0.5, 1.0]], [[2]], "row 0 must hold distinct columns"),
    ],
)
def test_unusable_scores(scores, relevant, message):
    with pytest.raises(ValueError, match=message):
        score_ranks(scores, relevant)
