"""The value of every query under every metric, in a table that runs are compared by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.exceptions import DataError
from phenolip.whole_files import whole_file

PER_QUERY = "per_query.parquet"
CLUSTERS = "clusters.parquet"  # unit, query_id, cluster: queries that an interval draws together
SCHEMA = pa.schema(
    {
        "metric": pa.dictionary(pa.int32(), pa.string()),
        "unit": pa.dictionary(pa.int32(), pa.string()),
        "query_id": pa.string(),
        "value": pa.float64(),
    }
)


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of a family of metrics, in the order of their values.

    Attributes:
        unit: What is drawn in a bootstrap: metrics of one unit have the same kind of query and are resampled together.
        ids: One id a query, all different.
    """

    unit: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryValues:
    """Values of one metric.

    Attributes:
        unit: As in `Queries`.
        ids: (n,) query ids, sorted.
        values: (n,) float64.
    """

    unit: str
    ids: NDArray
    values: NDArray


def pair_queries(pairs: EvaluationPairs) -> dict[str, Queries]:
    """Queries of the metrics over image-caption pairs, by the first part of a metric's name.

    Image, caption and zero-shot queries are rows of the data, so their unit is the pair; a phenotype query is an HPO
    id. Rows without a candidate phenotype ask nothing of `i2p` and `zero_shot`.
    """
    rows = unique_ids(pairs.row_ids)
    labelled = tuple(rows[row] for row, labels in enumerate(pairs.labels) if len(labels))
    shown = np.unique(np.concatenate(pairs.labels)) if labelled else ()
    return {
        "i2t": Queries("pair", rows),
        "t2i": Queries("pair", rows),
        "i2p": Queries("pair", labelled),
        "zero_shot": Queries("pair", labelled),
        "p2i": Queries("phenotype", tuple(pairs.candidate_ids[candidate] for candidate in shown)),
    }


def unique_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """The ids, with " (2)", " (3)", ... after the second, third, ... of equal ones.

    Example:
        >>> unique_ids(["a", "b", "a"])
        ('a', 'b', 'a (2)')
    """
    ids = tuple(ids)
    reserved, used = set(ids), set()  # no new id may equal one that is still to come
    numbers: dict[str, int] = {}
    unique = []
    for name in ids:
        new = name
        if name in used:
            number = numbers.get(name, 2)
            while (new := f"{name} ({number})") in reserved:
                number += 1
            numbers[name] = number + 1
            reserved.add(new)
        used.add(new)
        unique.append(new)
    return tuple(unique)


def write_per_query(path: Path, metrics: Mapping[str, MetricValue], queries: Mapping[str, Queries]) -> None:
    """Writes `metric`, `unit`, `query_id`, `value`, one row a query and metric.

    Metrics that are no mean over queries have no rows.

    Args:
        path: The Parquet file.
        metrics: The metrics of a run.
        queries: Their queries; the key is the beginning of a metric's name.
    """
    with whole_file(path) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for name, metric in metrics.items():
            family = next((family for family in queries if name.startswith(f"{family}_")), None)
            if metric.per_query is None or family is None:
                continue
            asked = queries[family]
            columns = [[name] * metric.n, [asked.unit] * metric.n, asked.ids, metric.per_query]
            writer.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))


def read_per_query(path: Path) -> dict[str, QueryValues]:
    """The values of each metric, its queries sorted by id.

    Raises:
        DataError: The file is missing or of another form.
    """
    try:
        table = pq.read_table(path).cast(SCHEMA)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{path} must be a Parquet file with the columns {', '.join(SCHEMA.names)}: evaluate the model again."
        ) from error
    values = {}
    for name in pc.unique(table["metric"]).to_pylist():
        rows = table.filter(pc.equal(table["metric"], name))
        ids = np.array(rows["query_id"].to_pylist(), dtype=object)
        order = np.argsort(ids, kind="stable")
        values[name] = QueryValues(rows["unit"][0].as_py(), ids[order], rows["value"].to_numpy()[order])
    return values


def write_clusters(folder: Path, unit: str, ids: Sequence[str], clusters: NDArray) -> None:
    """Writes the cluster of each query of a unit into a run's folder."""
    table = pa.table({"unit": [unit] * len(ids), "query_id": list(ids), "cluster": np.asarray(clusters, np.int64)})
    with whole_file(folder / CLUSTERS) as file:
        pq.write_table(table, file)


def read_clusters(folder: Path) -> dict[str, dict[str, int]]:
    """Unit -> query id -> cluster of a run; empty where the evaluation wrote none.

    Raises:
        DataError: The file is of another form.
    """
    if not (folder / CLUSTERS).is_file():
        return {}
    try:
        table = pq.read_table(folder / CLUSTERS, columns=["unit", "query_id", "cluster"])
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{folder / CLUSTERS} must hold unit, query_id and cluster: evaluate the model again."
        ) from error
    found: dict[str, dict[str, int]] = {}
    for row in table.to_pylist():
        found.setdefault(row["unit"], {})[row["query_id"]] = row["cluster"]
    return found
