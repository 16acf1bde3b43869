"""Row groups of a data set on a hub on 127.0.0.1, asked for one by one."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenolip.datasets_scripts.prepare import SPLIT_PAIRS

READ = """
import json, sys
from phenolip.datasets_scripts.parquet_shards import ParquetShards, find_shards
shards = ParquetShards(find_shards(sys.argv[1], "train"), sys.argv[1])
last = shards.read(len(shards.starts) - 2, ("caption", "sha256"))
print(json.dumps([shards.starts.tolist(), last["caption"].to_pylist(), shards.labels()]))
"""


@pytest.fixture
def hub():
    spec = importlib.util.spec_from_file_location("stream_hub_server", Path(__file__).with_name("hub_server.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["stream_hub_server"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    with module.running_hub() as running:
        yield module, running


@pytest.mark.slow
def test_a_stream_asks_the_hub_for_footers_and_row_groups_alone(hub, tmp_path):
    module, running = hub
    rows = [
        {
            "image": {"bytes": os.urandom(200_000), "path": f"{row}.png"}, "caption": f"caption {row}",
            "phenotypes": [], "hpo_ids": [f"HP:000000{row % 2}"], "sha256": str(row), "row_id": str(row),
            "group_id": "", "findings": [],
        }
        for row in range(10)
    ]  # fmt: skip
    files = {}
    for number in (0, 1):
        path = tmp_path / f"train-{number:05d}-of-00002.parquet"
        table = pa.Table.from_pylist(rows[5 * number :][:5], schema=SPLIT_PAIRS.arrow_schema)
        pq.write_table(table, path, row_group_size=2)
        files[f"data/{path.name}"] = running.store(path.read_bytes())
    repo = running.repos["datasets", "org/pairs"] = module.Repo(private=False)
    repo.commit("main", files)
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": running.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "cache")}
    environment |= {"HF_TOKEN": "hf_read", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ, "org/pairs"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    starts, captions, labels = json.loads(done.stdout.splitlines()[-1])
    assert starts == [0, 2, 4, 5, 7, 9, 10]
    assert captions == ["caption 9"] and labels == ["HP:0000000", "HP:0000001"]
    assert running.sent(r"GET .*/resolve/[0-9a-f]{40}/data/train-00000")  # at a commit, not at a branch
    assert not list((tmp_path / "cache").rglob("*.arrow"))
