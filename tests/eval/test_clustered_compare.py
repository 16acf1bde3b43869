"""Comparisons that draw clusters, and p-values that know how many differences a table holds."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenolip.eval.compare import compare_runs, load_run
from phenolip.eval.comparison_table import adjust_rows, compare_rows, to_markdown, to_text
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.metrics.multiplicity import holm, sign_flip_p_value
from phenolip.eval.metrics.paired import bootstrap_grand_mean, grand_mean_shares
from phenolip.eval.per_query import CLUSTERS, PER_QUERY, Queries, read_clusters, write_clusters, write_per_query
from phenolip.exceptions import DataError

NAMES = ("i2t_hit_at_10", "t2i_hit_at_10")
CASES = np.repeat(np.arange(8), 10)
ROWS = tuple(f"row{n}" for n in range(80))


def write_run(path, seed, clusters=None):
    """80 queries of 8 cases; the queries of a case share their value."""
    path.mkdir()
    draws = np.random.default_rng(seed).integers(0, 2, (2, 8)).astype(float)
    metrics = {
        name: MetricValue(float(draw.mean()), (0, 1), 80, 0.1, draw[CASES])
        for name, draw in zip(NAMES, draws, strict=True)
    }
    write_per_query(path / PER_QUERY, metrics, {name[:3]: Queries("pair", ROWS) for name in NAMES})
    if clusters is not None:
        write_clusters(path, "pair", ROWS, clusters)
    stated = {name: {"value": m.value, "ci95": [0, 1], "n": m.n} for name, m in metrics.items()}
    (path / "results.json").write_text(json.dumps({"task": "t", "task_version": 1, "model": "m", "metrics": stated}))
    return load_run(path)


def test_a_comparison_draws_the_clusters_that_the_run_names(tmp_path):
    a, b = write_run(tmp_path / "a", 0, CASES), write_run(tmp_path / "b", 1, CASES)
    clustered = compare_runs([a], [b], NAMES)
    plain = compare_runs([replace(a, clusters={})], [b], NAMES)
    assert clustered.difference == plain.difference and clustered.p_value > plain.p_value
    assert np.diff(clustered.ci95) > 2 * np.diff(plain.ci95)
    cases = [
        np.stack([b.values[name].values - a.values[name].values for name in NAMES], axis=1)[
            [list(a.values[NAMES[0]].ids).index(f"row{10 * case}") for case in range(8)]
        ]
    ]
    assert clustered.ci95 == pytest.approx(bootstrap_grand_mean(cases)[1])  # as if each case were asked once
    assert clustered.p_value == pytest.approx(sign_flip_p_value(cases[0].mean(axis=1)), abs=0.02)


def test_shares_add_up_to_the_grand_mean():
    rng = np.random.default_rng(0)
    groups = [rng.random((9, 2)), rng.random((4, 1))]
    groups[0][3, 1] = np.nan
    value = bootstrap_grand_mean(groups, num_resamples=10)[0]
    assert grand_mean_shares(groups).sum() == pytest.approx(value)
    shares = grand_mean_shares(groups, [np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), None])
    assert len(shares) == 3 + 4 and shares.sum() == pytest.approx(value)


def test_all_differences_of_a_table_are_adjusted_together(tmp_path):
    rows = {name: [write_run(tmp_path / name, seed)] for seed, name in enumerate("abc")}
    table = compare_rows(rows, NAMES)
    cells = [row.cells[name] for row in table.rows[1:] for name in NAMES]
    assert [cell.p_holm for cell in cells] == holm([cell.p_value for cell in cells])
    assert all(cell.p_holm >= cell.p_value for cell in cells)
    assert table.rows[0].cells[NAMES[0]].p_holm is None
    assert to_text(table).count(" p ") >= 4 and "Holm" in to_markdown(table)
    assert adjust_rows(table.rows[:1]) == list(table.rows[:1])


def test_a_damaged_file_of_clusters_is_named(tmp_path):
    assert read_clusters(tmp_path) == {}
    pq.write_table(pa.table({"unit": ["pair"]}), tmp_path / CLUSTERS)
    with pytest.raises(DataError, match="must hold unit, query_id and cluster"):
        read_clusters(tmp_path)
