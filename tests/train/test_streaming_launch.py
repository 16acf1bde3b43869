"""Stage 2 over shards as a user starts it: two processes train the weights of one, and go on in mid-epoch."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import SPLIT_PAIRS
from phenolip.datasets_scripts.tables import embedded_rows, write_parquet

from .test_launch import call, launch  # noqa: F401

pytestmark = pytest.mark.slow


def test_a_stream_on_two_processes_trains_the_weights_of_one_and_resumes_them(call, ontology, tmp_path):  # noqa: F811
    source = Path(call[call.index("--data") + 1])
    whole = write_parquet(
        embedded_rows(load_pairs(source, ontology=ontology)), tmp_path / "whole", "train", SPLIT_PAIRS
    )[0]
    (tmp_path / "shards").mkdir()
    for number, start in enumerate((0, 10)):
        part = pq.read_table(whole).slice(start, 10)
        pq.write_table(part, tmp_path / "shards" / f"train-{number:05d}.parquet", row_group_size=4)
    call = [*call, "--data", str(tmp_path / "shards"), "--streaming", "true", "--shuffle_buffer", "8"]
    weights = {}
    for num_processes in (1, 2):
        output_dir = tmp_path / str(num_processes)
        ended = launch(num_processes, [*call, "--output_dir", str(output_dir)])
        assert ended.returncode == 0, ended.stderr
        weights[num_processes] = load_file(output_dir / "model.safetensors")
    for name, tensor in weights[1].items():
        torch.testing.assert_close(weights[2][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    output_dir = tmp_path / "resumed"
    arguments = [*call, "--output_dir", str(output_dir)]
    assert launch(2, [*arguments, "--stop_after_steps", "3"]).returncode != 0
    ended = launch(2, [*arguments, "--resume", "true"])
    assert ended.returncode == 0, ended.stderr
    for name, tensor in load_file(output_dir / "model.safetensors").items():
        assert torch.equal(tensor, weights[2][name]), name
    index = pq.read_table(tmp_path / "2" / "training_index.parquet")
    assert index.num_rows == 16 and len(set(index["sha256"].to_pylist())) == 16
    assert len(json.loads((tmp_path / "2" / "phenotypes.json").read_text())) == 3
