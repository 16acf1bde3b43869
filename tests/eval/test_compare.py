"""Runs against each other: what they must share, and numbers that can be worked out by hand."""

import json

import numpy as np
import pytest

from phenolip.eval.compare import Run, compare_runs, load_run, paired_difference
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.per_query import PER_QUERY, Queries, write_per_query
from phenolip.exceptions import ConfigurationError, DataError

ROWS, TERMS = tuple(f"row{n}" for n in range(60)), tuple(f"HP:{n:07d}" for n in range(20))
QUERIES = {
    "i2t": Queries("pair", ROWS),
    "i2p": Queries("pair", ROWS[:30]),
    "p2i": Queries("phenotype", TERMS),
}


def write_run(path, seed=0, gain=0.0, queries=QUERIES, **changes):
    """A run of random hits; `gain` is added to every one."""
    path.mkdir()
    rng = np.random.default_rng(seed)
    metrics = {"spearman_lin": MetricValue(0.5, (0.4, 0.6), 9)}
    for family, asked in queries.items():
        values = (rng.random(len(asked.ids)) < 0.5) + gain
        metrics[f"{family}_hit_at_10"] = MetricValue(values.mean(), (0, 1), len(values), 0.1, values)
    write_per_query(path / PER_QUERY, metrics, queries)
    stated = {name: {"value": m.value, "ci95": list(m.ci95), "n": m.n} for name, m in metrics.items()}
    results = {"task": "phenobench", "task_version": 1, "data_revision": "r", "num_candidates": 20, "model": path.name}
    results |= {"hpo_release": "2000-01-01", "chance": {}, "metrics": stated}
    (path / "results.json").write_text(json.dumps(results | changes))
    return path


METRICS = [f"{family}_hit_at_10" for family in QUERIES]


def test_one_metric_is_the_paired_difference(tmp_path):
    a, b = write_run(tmp_path / "a", 0), write_run(tmp_path / "b", 1)
    found = compare_runs([a], [b], ["i2t_hit_at_10"])
    values_a, values_b = (load_run(run).values["i2t_hit_at_10"].values for run in (a, b))
    expected = paired_difference(values_a, values_b)
    assert (found.difference, found.ci95) == (expected.difference, expected.ci95)
    assert found.difference == pytest.approx(found.mean_b - found.mean_a) and found.n == {"i2t_hit_at_10": 60}


def test_mean_of_metrics_weighs_metrics_and_not_queries(tmp_path):
    a, b = write_run(tmp_path / "a", 0), write_run(tmp_path / "b", 1)
    found = compare_runs([a], [b], METRICS)
    stated = [[load_run(run).results["metrics"][name]["value"] for name in METRICS] for run in (a, b)]
    assert found.mean_a == pytest.approx(np.mean(stated[0])) and found.mean_b == pytest.approx(np.mean(stated[1]))
    assert found.difference == pytest.approx(np.mean(stated[1]) - np.mean(stated[0]))
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert list(found.n.values()) == [60, 30, 20]


def test_b_better_is_above_zero_and_a_constant_gain_has_no_spread(tmp_path):
    a, b = write_run(tmp_path / "a", 0), write_run(tmp_path / "b", 0, gain=0.02)
    found = compare_runs([a], [b], METRICS)
    assert found.difference == pytest.approx(0.02) and found.ci95 == pytest.approx((0.02, 0.02))
    assert compare_runs([b], [a], METRICS).difference == pytest.approx(-0.02)


def test_seeds_are_averaged_per_query_and_narrow_the_interval(tmp_path):
    a = [write_run(tmp_path / f"a{n}", n) for n in range(5)]
    b = [write_run(tmp_path / f"b{n}", 10 + n) for n in range(3)]
    found = compare_runs(a, b, METRICS)
    assert found.num_runs == (5, 3)
    means = [np.mean([load_run(run).results["metrics"][name]["value"] for name in METRICS]) for run in a]
    assert found.mean_a == pytest.approx(np.mean(means))
    one = compare_runs(a[:1], b[:1], METRICS).ci95
    assert found.ci95[1] - found.ci95[0] < 0.75 * (one[1] - one[0])


def test_the_order_of_rows_in_a_file_does_not_matter(tmp_path):
    turned = {family: Queries(asked.unit, asked.ids[::-1]) for family, asked in QUERIES.items()}
    a, b = write_run(tmp_path / "a", 0), write_run(tmp_path / "b", 0, queries=turned)
    values_a, values_b = (load_run(run).values["i2t_hit_at_10"] for run in (a, b))
    by_row_a, by_row_b = (dict(zip(values.ids, values.values, strict=True)) for values in (values_a, values_b))
    assert by_row_b == {turned: by_row_a[row] for row, turned in zip(ROWS, ROWS[::-1], strict=True)}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"task": "knowledge"}, "share their task to be compared: .*a has 'phenobench', .*b 'knowledge'"),
        ({"task_version": 2}, "share their task version"),
        ({"data_revision": "s"}, "share their data revision"),
        ({"num_candidates": 7}, "share their number of candidate phenotypes"),
        ({"hpo_release": "2001-01-01"}, "share their HPO release"),
    ],
)
def test_runs_of_other_tasks_or_data_are_refused(tmp_path, changes, match):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", **changes)
    with pytest.raises(ConfigurationError, match=match):
        compare_runs([a], [b], METRICS)


@pytest.mark.parametrize(
    ("stated", "other", "match"),
    [
        (
            {"candidates_hash": "x"},
            {"candidates_hash": "y"},
            "share their candidate phenotypes .*of .*b and .*c differ",
        ),
        ({"prompts": ["{}", "a {}"]}, {"prompts": ["{}"]}, "share their prompts"),
        ({"settings": {"retrieval": {"ks": [1]}}}, {"settings": {"retrieval": {"ks": [5]}}}, "share their settings"),
    ],
)
def test_what_runs_state_must_agree_and_may_be_missing(tmp_path, stated, other, match):
    a, b, c = (write_run(tmp_path / name, **changes) for name, changes in (("a", {}), ("b", stated), ("c", other)))
    assert compare_runs([a], [b], METRICS).difference == compare_runs([a], [c], METRICS).difference == 0
    with pytest.raises(ConfigurationError, match=match):
        compare_runs([a], [b, c], METRICS)


def test_other_queries_are_refused(tmp_path):
    other = QUERIES | {"i2t": Queries("pair", (*ROWS[:-1], "row99"))}
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", queries=other)
    with pytest.raises(DataError, match="were asked different queries in i2t_hit_at_10"):
        compare_runs([a], [b], METRICS)


@pytest.mark.parametrize(
    ("metrics", "match"),
    [
        (["i2t_hit_at_11"], "has no metric 'i2t_hit_at_11'. Close: 'i2t_hit_at_10'"),
        (["spearman_lin"], "'spearman_lin' has no value per query"),
        ([], "must each hold at least one, got 1, 1 and 0"),
    ],
)
def test_wrong_metrics_are_named(tmp_path, metrics, match):
    a = write_run(tmp_path / "a")
    with pytest.raises(ConfigurationError, match=match):
        compare_runs([a], [a], metrics)


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="must be a folder that `phenolip eval` wrote"):
        load_run(tmp_path / "none")
    run = write_run(tmp_path / "a")
    (run / PER_QUERY).rename(tmp_path / "kept.parquet")
    with pytest.raises(DataError, match="has no per_query.parquet"):
        load_run(run)
    (tmp_path / "kept.parquet").rename(run / PER_QUERY)
    results = json.loads((run / "results.json").read_text())
    results["metrics"]["i2t_hit_at_10"]["value"] = 0.123
    (run / "results.json").write_text(json.dumps(results))
    with pytest.raises(DataError, match="disagree on i2t_hit_at_10"):
        load_run(run)
    (run / "results.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        load_run(run)
    (run / "results.json").write_text("[]")
    with pytest.raises(DataError, match="must hold `task` and `metrics`"):
        load_run(run)


def test_a_run_can_be_read_once_and_compared_often(tmp_path):
    run = load_run(write_run(tmp_path / "a"))
    assert isinstance(run, Run)
    assert compare_runs([run], [run], METRICS).ci95 == (0.0, 0.0)
