"""Calibration against plain loops and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from phenolip.eval.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    none_of_these_threshold,
    reliability_table,
    softmax,
    wilson_interval,
)
from phenolip.exceptions import ConfigurationError, DataError


def test_equal_width_against_a_loop():
    rng = np.random.default_rng(0)
    confidences, correct = np.round(rng.random(500), 2), rng.integers(2, size=500)
    expected = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = (confidences > low + 1e-12) & (confidences <= high + 1e-12)
        inside |= (number == 0) & (confidences == 0)
        if inside.any():
            expected += inside.mean() * abs(confidences[inside].mean() - correct[inside].mean())
    # edges such as 0.3 are no exact floats: a hundredth of the items may fall one bin apart
    assert expected_calibration_error(confidences, correct, num_bins=10) == pytest.approx(expected, abs=0.01)


def test_equal_mass_bins_hold_equal_numbers_whatever_the_order():
    rng = np.random.default_rng(1)
    confidences, correct = rng.random(100) ** 3, rng.integers(2, size=100)
    rows = reliability_table(confidences, correct, binning="equal_mass", num_bins=5)
    assert [row.n for row in rows] == [20] * 5
    parts = np.array_split(np.argsort(confidences), 5)
    expected = np.mean([abs(confidences[part].mean() - correct[part].mean()) for part in parts])
    assert expected_calibration_error(confidences, correct, binning="equal_mass", num_bins=5) == pytest.approx(
        expected
    )
    tied, order = np.round(confidences, 1), rng.permutation(100)
    first = reliability_table(tied, correct, binning="equal_mass")
    second = reliability_table(tied[order], correct[order], binning="equal_mass")
    assert [(row.n, row.accuracy) for row in first] == [(row.n, row.accuracy) for row in second]
    assert sum(row.n for row in first) == 100


def test_brier_of_two_classes_is_twice_the_binary_one():
    rng = np.random.default_rng(2)
    positive, labels = rng.random(40), rng.integers(2, size=40)
    value = brier_score(np.stack([1 - positive, positive], axis=1), labels)
    assert value == pytest.approx(2 * brier_score_loss(labels, positive), abs=1e-12)


@pytest.mark.parametrize("true_temperature", [0.2, 1.0, 5.0])
def test_temperature_is_found_again(true_temperature):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20_000, 3)) * 2
    cumulative = np.cumsum(softmax(logits), axis=1)
    labels = (rng.random((20_000, 1)) > cumulative[:, :2]).sum(axis=1)
    found = fit_temperature(logits * true_temperature, labels)
    assert found == pytest.approx(true_temperature, rel=0.05)

    def loss(temperature):
        rows = softmax(logits * true_temperature, temperature)[np.arange(len(labels)), labels]
        return -np.log(rows).mean()

    assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01))
    scaled = softmax(logits * true_temperature, found)
    assert expected_calibration_error(scaled.max(axis=1), scaled.argmax(axis=1) == labels) < 0.02


def test_none_of_these_keeps_its_rate_and_no_lower_threshold_does():
    rng = np.random.default_rng(4)
    for rate in (0.0, 0.05, 0.5):
        scores = rng.integers(20, size=60) / 20
        threshold = none_of_these_threshold(scores, rate)
        assert (scores >= threshold).mean() <= rate
        lower = scores[scores < threshold]
        assert (scores >= lower.max()).mean() > rate


def test_wilson_interval_holds_the_share_and_knows_its_ends():
    assert wilson_interval(0, 10)[0] == 0.0 and wilson_interval(10, 10)[1] == pytest.approx(1.0)
    low, high = wilson_interval(5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)  # Wilson 1927, as in most tables


def test_wrong_calls():
    with pytest.raises(DataError, match="at least 1"):
        reliability_table([], [])
    with pytest.raises(DataError, match="between 0 and 1"):
        reliability_table([1.5], [1])
    with pytest.raises(ConfigurationError, match="`binning`"):
        reliability_table([0.5], [1], binning="other")
    with pytest.raises(ConfigurationError, match="`num_bins`"):
        reliability_table([0.5], [1], num_bins=0)
    with pytest.raises(ConfigurationError, match="max_false_positive_rate"):
        none_of_these_threshold([0.1], 1.0)
    with pytest.raises(DataError, match="`normal_scores`"):
        none_of_these_threshold([])
    with pytest.raises(DataError, match="`logits`"):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))
    with pytest.raises(DataError, match="`probabilities`"):
        brier_score(np.ones((2, 2)), np.array([0]))
