"""Thresholds and areas against published vectors, scikit-learn and plain search."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from phenolip.eval.metrics.curves import auroc, average_precision, precision_at_k
from phenolip.eval.metrics.thresholds import best_threshold, decide, threshold_metrics
from phenolip.exceptions import ConfigurationError, DataError

SCORES = [0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2]
LABELS = [1, 0, 1, 1, 0, 0, 1]


def column(values):
    return np.array(values)[:, None]


def test_the_published_vector():
    found = threshold_metrics(column(SCORES), column(LABELS), fit_on="test")
    assert found.threshold[0] == 0.6 and found.f1[0] == 0.75
    assert found.accuracy[0] == pytest.approx(5 / 7, abs=1e-12)
    strict = np.mean((np.array(SCORES) > 0.6) == np.array(LABELS))
    assert strict == pytest.approx(4 / 7, abs=1e-12)  # what leaving the boundary out would give


def test_areas_equal_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    for size in (2, 3, 7, 40, 300):
        for levels in (2, 5, 1000):
            scores, labels = rng.integers(levels, size=size) / levels, rng.integers(2, size=size)
            labels[:2] = (0, 1)
            assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
            expected = average_precision_score(labels, scores)
            assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-9)


def test_thresholds_equal_a_search_over_all_scores():
    rng = np.random.default_rng(1)
    for size in (1, 2, 5, 12, 60):
        for _ in range(5):
            scores, labels = rng.integers(8, size=size) / 8, rng.integers(2, size=size)
            labels[0] = 1
            tried = [
                (f1_score(labels, scores >= t, zero_division=0), np.mean((scores >= t) == labels), t)
                for t in np.unique(scores)
            ]
            best = max((round(f1, 12), round(acc, 12), t) for f1, acc, t in tried)
            threshold = best_threshold(scores, labels)
            assert threshold == best[2]
            assert np.allclose(decide(scores, labels, threshold), best[:2], atol=1e-9)


def test_precision_at_k_is_the_mean_over_orders_of_a_tie():
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(3, size=9) / 3, rng.integers(2, size=9)
    drawn = []
    for _ in range(4000):
        shuffle = rng.permutation(9)
        order = shuffle[np.argsort(-scores[shuffle], kind="stable")]
        drawn.append([labels[order[:k]].mean() for k in (1, 4, 9)])
    for k, mean in zip((1, 4, 9), np.mean(drawn, axis=0), strict=True):
        assert precision_at_k(scores, labels, k) == pytest.approx(mean, abs=0.03)
    assert precision_at_k(scores, labels, 50) == labels.mean()


def test_validation_fits_and_test_labels_never_do():
    rng = np.random.default_rng(3)
    scores, validation = rng.normal(size=(50, 2)), rng.normal(size=(30, 2))
    labels, seen = rng.integers(2, size=(50, 2)), rng.integers(2, size=(30, 2))
    found = threshold_metrics(scores, labels, fit_on="val", validation=(validation, seen))
    flipped = threshold_metrics(scores, 1 - labels, fit_on="val", validation=(validation, seen))
    assert np.array_equal(found.threshold, flipped.threshold)
    assert found.threshold[1] == best_threshold(validation[:, 1], seen[:, 1])
    assert any("val_fitted" in name for name in found.macro()) and not any("oracle" in n for n in found.macro())
    assert "macro_f1_oracle" in threshold_metrics(scores, labels, fit_on="test").macro()


def test_classes_that_cannot_be_scored_are_left_out_and_named():
    scores = np.tile(column(SCORES), 3)
    labels = np.stack([LABELS, [0] * 7, [1] * 7], axis=1)
    found = threshold_metrics(scores, labels, fit_on="test")
    assert found.excluded == {1: "no positive", 2: "no negative"} and found.num_classes_scored == 1
    assert np.isnan(found.f1[1:]).all() and found.macro()["macro_f1_oracle"] == 0.75
    val = threshold_metrics(scores[:, :1], labels[:, :1], validation=(scores[:, :1], labels[:, 1:2]))
    assert val.excluded == {0: "no positive in validation"} and np.isnan(val.macro()["macro_auroc"])


def test_uncertain_labels_count_nowhere():
    labels = np.array([1, -1, 1, 1, 0, 0, 1])
    found = threshold_metrics(column(SCORES), column(labels), fit_on="test")
    kept = labels >= 0
    same = threshold_metrics(column(SCORES)[kept], column(labels)[kept], fit_on="test")
    masked = threshold_metrics(column(SCORES), column(LABELS), column(kept), "test")
    assert found.f1 == same.f1 == masked.f1 and found.auroc == same.auroc == masked.auroc
    assert (found.num_positive[0], found.num_negative[0]) == (4, 2)


def test_wrong_calls():
    with pytest.raises(ConfigurationError, match="`validation` must be given"):
        threshold_metrics(column(SCORES), column(LABELS))
    with pytest.raises(ConfigurationError, match="`fit_on` must be"):
        threshold_metrics(column(SCORES), column(LABELS), fit_on="train")
    with pytest.raises(DataError, match="tables of one shape"):
        threshold_metrics(column(SCORES), column(LABELS[:3]), fit_on="test")
    with pytest.raises(DataError, match="finite, got 1"):
        threshold_metrics(column([float("nan"), *SCORES[1:]]), column(LABELS), fit_on="test")
    with pytest.raises(DataError, match="at least one positive"):
        best_threshold([0.1], [0])
