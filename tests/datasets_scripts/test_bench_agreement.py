"""Kappa against scikit-learn, published examples and closed forms; intervals against what they should cover."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from phenolip.datasets_scripts.bench_agreement import agreement, cohen_kappa, fleiss_kappa


def simulated(number, p_right, errors, unsure, seed=0):
    """Answers of two reviewers who err, and pass, at known rates: right 0, wrong 1, unsure 2."""
    generator = np.random.default_rng(seed)
    truth = generator.random(number) >= p_right  # (N,) 1 is wrong
    flips = generator.random((number, 2)) < errors
    codes = (truth[:, None] ^ flips).astype(np.int64)
    return np.where(generator.random((number, 2)) < unsure, 2, codes)


def closed_form(p_right, errors, unsure):
    """Kappa of such reviewers: given the truth, their answers are independent."""
    said = np.array([[p * (1 - e) + (1 - p) * e for p in (p_right, 1 - p_right)] for e in errors])
    said = np.column_stack([said * (1 - np.array(unsure))[:, None], unsure])  # (2, 3)
    both = (1 - errors[0]) * (1 - errors[1]) + errors[0] * errors[1]
    observed = (1 - unsure[0]) * (1 - unsure[1]) * both + unsure[0] * unsure[1]
    chance = (said[0] * said[1]).sum()
    return (observed - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("p_right", "errors", "unsure"),
    [(0.8, (0.05, 0.1), (0.0, 0.0)), (0.6, (0.02, 0.2), (0.1, 0.05)), (0.95, (0.3, 0.3), (0.02, 0.2))],
)
def test_two_simulated_reviewers_give_the_kappa_of_the_closed_form(p_right, errors, unsure):
    codes = simulated(100_000, p_right, errors, unsure)
    found = agreement(codes, 3, np.arange(len(codes)) // 20_000)  # five groups: no interval is worked out
    assert found.kappa == pytest.approx(closed_form(p_right, errors, unsure), abs=0.012) and found.ci95 is None


def test_intervals_cover_the_closed_form():
    case, groups = (0.8, (0.05, 0.1), (0.04, 0.08)), np.arange(200)
    found = [agreement(simulated(200, *case, seed), 3, groups, num_resamples=200, seed=seed) for seed in range(60)]
    covered = sum(one.ci95[0] <= closed_form(*case) <= one.ci95[1] for one in found)
    assert covered >= 50  # of 60 intervals of 95 %: all but once in 1000
    widths = [one.ci95[1] - one.ci95[0] for one in found]
    assert np.mean(widths) == pytest.approx(3.92 * np.std([one.kappa for one in found]), rel=0.2)


def test_cohen_is_that_of_scikit_learn():
    for seed in range(5):
        codes = np.random.default_rng(seed).integers(0, 3, (50, 2))
        found = agreement(codes, 3, np.arange(50), num_resamples=10)
        assert found.kappa == pytest.approx(cohen_kappa_score(codes[:, 0], codes[:, 1], labels=[0, 1, 2]), abs=1e-12)
        assert found.observed == pytest.approx(np.mean(codes[:, 0] == codes[:, 1]))
    assert cohen_kappa(np.array([20.0, 5, 10, 15])) == pytest.approx(0.4)


def test_fleiss_is_that_of_his_example():
    # Ten subjects, fourteen raters, five categories: kappa 0.210.
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    codes = np.array([np.repeat(np.arange(5), row) for row in counts])  # (10, 14)
    found = agreement(codes, 5, np.arange(10), num_resamples=100)
    assert found.kappa == pytest.approx(0.210, abs=5e-4) and found.observed == pytest.approx(0.378, abs=5e-4)
    assert found.ci95[0] < found.kappa < found.ci95[1]
    within = [sum(n * (n - 1) for n in row) / (14 * 13) for row in counts]
    sums = np.array([10, sum(within), *np.sum(counts, axis=0)])
    assert fleiss_kappa(14)(sums) == pytest.approx(found.kappa)


def test_questions_of_one_article_are_resampled_together():
    codes = simulated(100, 0.7, (0.1, 0.1), (0.0, 0.0))
    alone = agreement(codes, 3, np.arange(100), num_resamples=1500)
    fourfold = np.repeat(codes, 4, axis=0)  # the same answer four times in each article says no more than once
    together = agreement(fourfold, 3, np.repeat(np.arange(100), 4), num_resamples=1500)
    apart = agreement(fourfold, 3, np.arange(400), num_resamples=1500)
    width = {name: found.ci95[1] - found.ci95[0] for name, found in locals().items() if hasattr(found, "ci95")}
    assert alone.kappa == pytest.approx(together.kappa) and width["together"] == pytest.approx(width["alone"])
    assert width["apart"] == pytest.approx(width["alone"] / 2, rel=0.15)


def test_where_kappa_is_not_defined():
    same = agreement(np.zeros((30, 2), dtype=np.int64), 3, np.arange(30))
    assert (same.kappa, same.ci95, same.observed, same.num_questions) == (None, None, 1.0, 30)
    assert agreement(np.zeros((0, 2), dtype=np.int64), 3, np.arange(0)).num_questions == 0
    few = agreement(np.array([[0, 0], [1, 1], [0, 1]]), 2, np.arange(3))
    assert few.kappa == pytest.approx(0.4) and few.ci95 is None
