"""Shards on the workers of a Ray cluster, or of this machine, through Ray Data.

Workers need the folders of articles and output under the same paths. A worker that dies has its shard worked on again
by another, which makes only the parts that are not there yet.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from phenolip.exceptions import ConfigurationError, DataError, PhenoLIPError
from phenolip.phenokg.shards import Shard

_MAX_BLOCKS = 10_000


def run_on_ray(work: Callable[[Shard], None], shards: Sequence[Shard]) -> Iterator[Shard]:
    """The engine `ray`: calls a function with every shard, and yields those that are finished, as they come.

    A cluster is found as Ray finds it (RAY_ADDRESS); without one, the cores of this machine are the workers.

    Raises:
        ConfigurationError: If Ray is not installed.
        DataError: What the function raised for the user.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError:
        raise ConfigurationError("`engine` ray needs Ray: run `pip install 'phenolip[ray]'`.") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        rows = ray.data.from_items(
            [dataclasses.asdict(shard) for shard in shards], override_num_blocks=min(len(shards), _MAX_BLOCKS)
        )
        finished = rows.map_batches(_work_on, batch_size=1, batch_format="pyarrow", fn_kwargs={"work": work})
        for row in finished.iter_rows():
            if row["problem"]:
                raise DataError(row["problem"])
            yield shards[row["number"]]
    finally:
        if is_ours:
            ray.shutdown()


def _work_on(batch: pa.Table, work: Callable[[Shard], None]) -> pa.Table:
    """One shard; errors with a sentence for the user come back as that sentence."""
    problem = ""
    try:
        (row,) = batch.to_pylist()
        work(Shard(**row))
    except PhenoLIPError as error:
        problem = str(error)
    return pa.table({"number": batch["number"], "problem": [problem]})
