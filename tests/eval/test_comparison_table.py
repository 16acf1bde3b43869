"""Tables of runs: numbers, layout and what is refused."""

import json
import re

import numpy as np
import pytest

from phenolip.eval.compare import compare_runs, load_run
from phenolip.eval.comparison_table import MEAN, compare_rows, to_markdown, to_text
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.metrics.bootstrap import mean_intervals
from phenolip.eval.per_query import PER_QUERY, Queries, write_per_query
from phenolip.exceptions import ConfigurationError

ROWS = tuple(f"row{n}" for n in range(40))
RATE, OTHER, CORRELATION = "i2t_hit_at_10", "t2i_hit_at_10", "spearman_lin"


def write_run(path, rate, spearman=0.5):
    """A run whose first rows are hits, in shares that are easy to read."""
    path.mkdir(parents=True)
    metrics = {CORRELATION: MetricValue(spearman, (0.4, 0.6), 9)}
    queries = {}
    for name, share in ((RATE, rate), (OTHER, rate / 2)):
        values = (np.arange(40) < 40 * share).astype(float)
        ci95 = tuple(mean_intervals(values[:, None])[0])
        metrics[name] = MetricValue(values.mean(), ci95, 40, 0.1, values)
        queries[name.split("_")[0]] = Queries("pair", ROWS)
    write_per_query(path / PER_QUERY, metrics, queries)
    stated = {name: {"value": m.value, "ci95": list(m.ci95), "n": m.n} for name, m in metrics.items()}
    (path / "results.json").write_text(json.dumps({"task": "t", "task_version": 1, "model": "m", "metrics": stated}))
    return path


@pytest.fixture
def rows(tmp_path):
    return {
        "plain": [load_run(write_run(tmp_path / "a", 0.25))],
        "taught": [load_run(write_run(tmp_path / "b", 0.75, 0.625))],
    }


def test_values_intervals_and_differences(rows):
    comparison = compare_rows(rows, [RATE, CORRELATION])
    first, second = comparison.rows
    assert comparison.task == "t 1" and comparison.metrics == (RATE, CORRELATION)
    assert first.cells[RATE].value == 0.25 and first.cells[RATE].difference is None
    assert first.cells[RATE].ci95 == tuple(rows["plain"][0].results["metrics"][RATE]["ci95"])
    expected = compare_runs(rows["plain"], rows["taught"], [RATE])
    assert (second.cells[RATE].difference, second.cells[RATE].difference_ci95) == (0.5, expected.ci95)
    assert second.cells[CORRELATION].difference == 0.125 and second.cells[CORRELATION].difference_ci95 is None
    assert second.models == ("m",)


def test_usual_metrics_come_first_and_the_mean_leaves_correlations_out(rows):
    assert compare_rows(rows).metrics == (RATE, OTHER, CORRELATION)
    comparison = compare_rows(rows, with_mean=True)
    assert comparison.metrics == (RATE, OTHER, MEAN)
    cell = comparison.rows[1].cells[MEAN]
    assert cell.value == pytest.approx((0.75 + 0.375) / 2) and cell.n == 80
    assert cell.difference == pytest.approx((0.5 + 0.25) / 2)
    assert cell.difference_ci95 == compare_runs(rows["plain"], rows["taught"], [RATE, OTHER]).ci95


def test_a_row_of_seeds_shows_their_average(rows, tmp_path):
    rows["both"] = rows["plain"] + rows["taught"]
    cells = compare_rows(rows).rows[2].cells
    assert cells[RATE].value == 0.5 and cells[CORRELATION].value == 0.5625
    values = np.mean([run.values[RATE].values for run in rows["both"]], axis=0)
    assert cells[RATE].ci95 == pytest.approx(tuple(mean_intervals(values[:, None])[0]), abs=0.02)
    assert cells[CORRELATION].ci95 is None


def test_what_is_not_defined_is_a_dash(rows, tmp_path):
    rows["constant"] = [load_run(write_run(tmp_path / "c", 0.5, None))]
    cell = compare_rows(rows, [CORRELATION]).rows[2].cells[CORRELATION]
    assert cell.value is cell.difference is None
    assert re.search(r"^constant +-$", to_text(compare_rows(rows, [CORRELATION])), flags=re.MULTILINE)


def test_text_is_aligned_and_complete(rows):
    text = to_text(compare_rows(rows))
    lines = text.splitlines()
    table = lines[1 : lines.index("")]
    column = ("i2t_hit_at_10", "n = 40", "25.0")
    ends = [line.index(part) + len(part) for line, part in zip(table[:3], column, strict=True)]
    assert len(set(ends)) == 1  # numbers stand under the end of their header
    assert re.search(r"^taught +75\.0 +37\.5 +0\.625$", text, flags=re.MULTILINE)
    assert re.search(r"^ +\+50\.0 +\+25\.0 +\+0\.125$", text, flags=re.MULTILINE)
    assert "n = 40" in text and "Rates in percent" in text


def test_markdown_is_one_table_with_clear_differences_in_bold(rows):
    rows["a|b"] = rows["plain"]
    page = to_markdown(compare_rows(rows, [RATE]))
    table = page.split("\n\n")[0].splitlines()
    assert table[1] == "|---|---|" and len(table) == 5
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table)
    assert re.search(r"\| taught \| 75\.0<br>\[.*\]<br>\*\*\+50\.0 \[\+.*\]\*\*<br>p 0\.0\d+ \|", table[3])
    assert "**" not in table[4] and table[4].startswith("| a\\|b |")


def test_json_holds_every_cell(rows):
    found = json.loads(json.dumps(compare_rows(rows, [RATE]).to_dict()))
    assert found["rows"][1]["cells"][RATE]["difference"] == 0.5


@pytest.mark.parametrize(
    ("metrics", "mean", "match"),
    [
        (["i2t_hit_at_11"], False, "`metrics` must be in every run, 'i2t_hit_at_11' is not. Close: 'i2t_hit_at_10'"),
        ([RATE, CORRELATION], True, "`mean` takes rates alone, which 'spearman_lin' is not"),
    ],
)
def test_wrong_columns_are_named(rows, metrics, mean, match):
    with pytest.raises(ConfigurationError, match=match):
        compare_rows(rows, metrics, with_mean=mean)
