"""`phenolip mini`: which steps it plans and what its last words say."""

import json

import pytest

from phenolip.cli import mini


def write_results(output, *, n, contamination=None, metrics=None):
    names = [f"{direction}_hit_at_{k}" for direction in ("i2t", "t2i", "i2p", "p2i") for k in range(1, 51)]
    values = {name: {"value": int(name.rsplit("_", 1)[1]) / 100, "ci95": [0.0, 0.5], "n": n} for name in names}
    results = {
        "task": "phenobench_ontology",
        "n": n,
        "num_candidates": 20,
        "ks": [1, 5, 10, 50],
        "metrics": values if metrics is None else metrics,
        "contamination": contamination,
    }
    (output / "eval").mkdir()
    (output / "eval" / "results.json").write_text(json.dumps(results))


@pytest.mark.parametrize(("n", "cutoff"), [(139, 2), (20, 1), (361, 5), (418, 6), (722, 10), (3000, 42)])
def test_the_summary_shows_the_cutoff_that_is_as_hard_as_10_of_722(tmp_path, n, cutoff):
    write_results(tmp_path, n=n)
    text = mini.summary(tmp_path, 90)
    assert "Finished in 1.5 minutes." in text and f"{n} pairs held out, 20 candidate phenotypes." in text
    for direction in ("i2t", "t2i", "i2p", "p2i"):
        (line,) = [line for line in text.splitlines() if f"{direction}_hit_at_" in line]
        assert line.split()[:2] == [f"{direction}_hit_at_{cutoff}", f"{cutoff:.1f}"]


def test_the_summary_speaks_of_images_that_were_trained_on(tmp_path):
    write_results(tmp_path, n=40, contamination={"num_rows_in_training": 3, "fraction": 0.075}, metrics={})
    assert "3 of them show image files that the model was trained on" in mini.summary(tmp_path, 1)


@pytest.mark.parametrize("contamination", [None, {"num_rows_in_training": 0, "fraction": 0.0}])
def test_the_summary_is_silent_where_none_was(tmp_path, contamination):
    write_results(tmp_path, n=40, contamination=contamination, metrics={})
    assert "trained on" not in mini.summary(tmp_path, 1)
