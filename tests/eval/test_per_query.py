"""The table of values per query: complete, of unique ids, and refused when damaged."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator
from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator
from phenolip.eval.per_query import Queries, pair_queries, read_per_query, unique_ids, write_per_query
from phenolip.exceptions import DataError

NAMES = ["Drusen", "Cataract", "Scoliosis"]


@pytest.fixture
def pairs(helpers):
    labels = [["Drusen"], [], ["Cataract", "Drusen"], ["Drusen"], []]
    return helpers.make_pairs(list("abcde"), [f"text {n}" for n in range(5)], labels, NAMES)


def test_every_ranking_metric_is_the_mean_of_its_queries(pairs, encoder, tmp_path):
    metrics = RetrievalEvaluator(pairs, ks=(1, 2))(encoder) | ZeroShotEvaluator(pairs)(encoder)
    write_per_query(tmp_path / "q.parquet", metrics, pair_queries(pairs))
    values = read_per_query(tmp_path / "q.parquet")
    assert list(values) == list(metrics)
    for name, metric in metrics.items():
        assert values[name].values.mean() == pytest.approx(metric.value) and len(values[name].ids) == metric.n
    assert values["i2t_hit_at_1"].ids.tolist() == [f"row{n}" for n in range(5)]
    assert values["i2p_hit_at_1"].ids.tolist() == values["zero_shot_top1"].ids.tolist() == ["row0", "row2", "row3"]
    assert values["p2i_hit_at_1"].ids.tolist() == ["HP:0000000", "HP:0000001"]  # nothing shows the third
    assert {values[name].unit for name in metrics} == {"pair", "phenotype"}


def test_values_stand_beside_their_own_query(pairs, encoder, tmp_path):
    metrics = RetrievalEvaluator(pairs, ks=(1,))(encoder)
    write_per_query(tmp_path / "q.parquet", metrics, pair_queries(pairs))
    values = read_per_query(tmp_path / "q.parquet")["i2p_hit_at_1"]
    names = encoder.encode_texts(NAMES)
    for query, value in zip(values.ids, values.values, strict=True):
        row = pairs.row_ids.index(query)
        best = int(np.argmax(names @ encoder.vector(pairs.images[row])))
        assert value == (best in pairs.labels[row])


def test_columns_of_the_file(pairs, encoder, tmp_path):
    metrics = RetrievalEvaluator(pairs, ks=(1,))(encoder)
    write_per_query(tmp_path / "q.parquet", metrics, pair_queries(pairs))
    rows = pq.read_table(tmp_path / "q.parquet").to_pylist()
    assert rows[0].keys() == {"metric", "unit", "query_id", "value"} and isinstance(rows[0]["value"], float)
    assert len({(row["metric"], row["query_id"]) for row in rows}) == len(rows) == sum(m.n for m in metrics.values())


def test_what_is_no_mean_over_queries_has_no_rows(tmp_path):
    metrics = {"spearman_lin": MetricValue(0.5, (0.4, 0.6), 3), "a_hit": MetricValue(0.5, (0, 1), 2, 0, np.eye(2)[0])}
    write_per_query(tmp_path / "q.parquet", metrics, {"a": Queries("pair", ("y", "x"))})
    values = read_per_query(tmp_path / "q.parquet")
    assert list(values) == ["a_hit"]
    assert values["a_hit"].ids.tolist() == ["x", "y"] and values["a_hit"].values.tolist() == [0.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["q.parquet"]


@pytest.mark.parametrize(
    "ids",
    [["a", "a", "a"], ["a", "a (2)", "a"], ["a", "a", "a (2)", "a (2)", "a"], ["", ""], [], ["x"] * 20_000],
)
def test_ids_become_unique_and_first_ones_keep_theirs(ids):
    unique = unique_ids(ids)
    assert len(set(unique)) == len(ids)
    first = {name: row for row, name in reversed(list(enumerate(ids)))}
    assert all(unique[row] == name for name, row in first.items())


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "q.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match="must be a Parquet file with the columns metric, unit, query_id, value"):
        read_per_query(tmp_path / "q.parquet")
    with pytest.raises(DataError, match="evaluate the model again"):
        read_per_query(tmp_path / "none.parquet")
