"""Shares with intervals against values worked out by hand."""

import math

import numpy as np
import pytest

from phenolip.phenokg.figures.filter_quality import filter_quality, wilson_share


def test_shares_of_a_small_table():
    is_medical = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    is_kept = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    quality = filter_quality(is_medical, is_kept)
    assert (quality.precision.value, quality.precision.n) == (0.75, 4)
    assert (quality.recall.value, quality.recall.n) == (0.75, 4)
    assert (quality.specificity.value, quality.specificity.n) == (5 / 6, 6)


def test_the_interval_solves_the_equation_that_defines_it():
    for count, n in ((0, 5), (3, 7), (90, 100), (40, 40), (51, 51)):
        share = wilson_share(count, n)
        for end in (share.low, share.high):
            if 0 < end < 1:  # |share - end| is 1.96 standard errors at `end`
                assert abs(share.value - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n))
        assert 0 <= share.low <= share.value <= share.high <= 1
    assert wilson_share(40, 40).low == pytest.approx(0.9124, abs=1e-4)


def test_nothing_to_count():
    quality = filter_quality(np.zeros(0, bool), np.zeros(0, bool))
    assert math.isnan(quality.recall.value) and quality.recall.n == 0
