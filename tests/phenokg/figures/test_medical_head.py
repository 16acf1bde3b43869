"""The classifier: trained, kept, applied, and measured on what it did not see."""

import json

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figures.medical_head import (
    MedicalHead,
    cross_validated_scores,
    fit_head,
    load_head,
    save_head,
    score_images,
)

TOWER = {"tower": "t", "fingerprint": "0123456789abcdef"}


def two_classes(n=200, distance=3.0):
    draw = np.random.default_rng(0)
    is_medical = draw.random(n) < 0.3
    features = draw.normal([5, -1, 0], [1, 10, 0.1], (n, 3)) + distance * is_medical[:, None] * [1, 0, 0]
    return features, is_medical


def test_scores_are_those_of_the_pipeline_that_was_fitted():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, is_medical = two_classes()
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)
    wanted = make_pipeline(StandardScaler(), model).fit(features, is_medical).predict_proba(features)[:, 1]
    head = fit_head(features, is_medical, **TOWER)
    np.testing.assert_allclose(score_images(features, head), wanted, atol=1e-9)
    assert ((wanted >= 0.5) == is_medical).mean() > 0.85


def test_a_head_is_read_as_it_was_written(tmp_path):
    features, is_medical = two_classes()
    head = fit_head(features, is_medical, **TOWER, provenance={"date": "2026-11-26", "n": 3})
    save_head(head, tmp_path / "head.json")
    read = load_head(tmp_path / "head.json")
    assert (read.tower, read.fingerprint, read.provenance) == ("t", "0123456789abcdef", head.provenance)
    np.testing.assert_allclose(score_images(features, read), score_images(features, head), atol=1e-4)


def test_no_overflow_and_no_score_without_finite_features():
    head = MedicalHead(**TOWER, weights=(1.0,), bias=0.0, provenance={})
    scores = score_images(np.array([[1e6], [-1e6], [0], [np.inf], [np.nan]]), head)
    assert scores[:3].tolist() == [1, 0, 0.5] and np.isnan(scores[3:]).all()
    with pytest.raises(
        ConfigurationError, match=r"`features` must have 1 columns for this head, got the shape \(2, 3\)"
    ):
        score_images(np.zeros((2, 3)), head)


def test_held_out_scores_know_nothing_of_their_group():
    groups = np.repeat(np.arange(12), 10)
    is_medical = groups % 2 == 0
    features = 50 * np.eye(12)[groups]  # a group tells its class, no other group's
    fitted = score_images(features, fit_head(features, is_medical, **TOWER))
    assert ((fitted > 0.5) == is_medical).all()
    scores = cross_validated_scores(features, is_medical, groups)
    assert np.isfinite(scores).all() and abs(scores - 0.5).max() < 0.2
    with pytest.raises(DataError, match="two groups of medical and two of other"):
        cross_validated_scores(features[:30], is_medical[:30], groups[:30])


@pytest.mark.parametrize(("side", "kind"), [(True, "medical"), (False, "other")])
def test_one_class_is_not_enough(side, kind):
    with pytest.raises(DataError, match=f"got 4 {kind} ones"):
        fit_head(np.zeros((4, 2)), np.full(4, side), **TOWER)


def head_file(tmp_path, **changed):
    row = {"format": "phenolip medical head 1", **TOWER, "weights": [1.0], "bias": 0.0, "provenance": {}} | changed
    (tmp_path / "head.json").write_text(json.dumps(row))
    return tmp_path / "head.json"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": ["1"]}, "is no head: Expected `float`, got `str`"),
        ({"weights": []}, "one weight a feature at least"),
        ({"bias": 1e999}, "is no head"),
        ({"format": "other"}, "`format` of a head must be 'phenolip medical head 1', got 'other'"),
        ({"code": "import os"}, "unknown field `code`"),
    ],
)
def test_files_that_are_no_head(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        load_head(head_file(tmp_path, **changed))


def test_files_that_cannot_be_read(tmp_path):
    assert load_head(head_file(tmp_path)).weights == (1.0,)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_head(tmp_path / "none.json")
    for data in (b"\x80\x04", b"[" * 200_000, b"{"):
        (tmp_path / "bad.json").write_bytes(data)
        with pytest.raises(DataError, match="is no head"):
            load_head(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_bytes(b" " * 1_000_001)
    with pytest.raises(DataError, match="at most 1,000,000 bytes"):
        load_head(tmp_path / "bad.json")


def test_the_head_of_the_package_says_where_it_comes_from():
    head = load_head()
    assert head.tower == "efficientnet-lite0" and len(head.weights) == 1280
    measured = head.provenance["measured"]["unseen_kinds"]
    assert head.provenance["date"] and head.provenance["trained_on"]
    assert measured["precision"]["n"] > 500 and measured["recall"]["n"] > 500


def test_a_seed_out_of_range():
    with pytest.raises(ConfigurationError, match="`seed` must be from 0 to 4294967295, got -1"):
        cross_validated_scores(np.zeros((2, 1)), np.array([True, False]), [0, 1], seed=-1)
