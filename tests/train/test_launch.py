"""Stage 2 as a user starts it on two processes, from a table or a stream: same weights as on one, resumed or not."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import SPLIT_PAIRS
from phenolip.datasets_scripts.tables import embedded_rows, write_parquet
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train import stage2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def call(tiny_model_dir, slice_path, tmp_path_factory):
    """Arguments of a small run without dropout; data, towers and teacher are made here."""
    import numpy as np
    from PIL import Image
    from transformers import AutoTokenizer, PreTrainedConfig

    folder = tmp_path_factory.mktemp("launch")
    model = PhenoLIPModel.from_pretrained(tiny_model_dir)
    for module in model.modules():  # the towers' configs name their dropout
        if hasattr(module, "config") and hasattr(module.config, "hidden_dropout_prob"):
            module.config.hidden_dropout_prob = module.config.attention_probs_dropout_prob = 0.0
    for name, side in (("text", model.text_model), ("vision", model.vision_model)):
        side.save_pretrained(folder / name)
        AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()).save_pretrained(folder / name)
    (folder / "pairs").mkdir()
    rows = []
    for row in range(16):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pairs" / f"{row}.png")
        rows.append(
            {"file_name": f"{row}.png", "caption": f"picture {row % 14}", "hpo_ids": [f"HP:990000{row % 3 + 3}"]}
        )
    (folder / "pairs" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        *("--data", str(folder / "pairs"), "--hpo", str(slice_path), "--image_size", "32", "--max_length", "32"),
        *("--text_path", str(folder / "text"), "--vision_path", str(folder / "vision")),
        *("--knowledge_encoder", str(folder / "text"), "--name_weight", "1", "--projection_dim", "16"),
        *("--num_epochs", "4", "--batch_size", "8", "--mixed_precision", "no", "--num_threads", "1"),
        *("--learning_rate", "1e-3", "--num_workers", "1"),
    ]


def launch(num_processes, arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(num_processes), "--standalone"]
    return subprocess.run([*command, stage2.__file__, *arguments], capture_output=True, text=True)


def assert_two_processes_train_the_weights_of_one_and_resume_them(call, folder):
    """In folders 1, 2 and resumed."""
    weights = {}
    for num_processes in (1, 2):
        output_dir = folder / str(num_processes)
        ended = launch(num_processes, [*call, "--output_dir", str(output_dir)])
        assert ended.returncode == 0, ended.stderr
        weights[num_processes] = load_file(output_dir / "model.safetensors")
    for name, tensor in weights[1].items():
        torch.testing.assert_close(weights[2][name], tensor, rtol=1e-3, atol=1e-4, msg=name)

    output_dir = folder / "resumed"
    stopped = launch(2, [*call, "--output_dir", str(output_dir), "--stop_after_steps", "3"])
    assert stopped.returncode != 0 and (output_dir / "checkpoints" / "step_00000003").is_dir()
    ended = launch(2, [*call, "--output_dir", str(output_dir), "--resume", "true"])
    assert ended.returncode == 0, ended.stderr
    for name, tensor in load_file(output_dir / "model.safetensors").items():
        assert torch.equal(tensor, weights[2][name]), name


def test_two_processes_train_the_weights_of_one_and_resume_them(call, tmp_path):
    assert_two_processes_train_the_weights_of_one_and_resume_them(call, tmp_path)


def test_so_they_do_on_a_stream(call, ontology, tmp_path):
    source = Path(call[call.index("--data") + 1])
    whole = write_parquet(
        embedded_rows(load_pairs(source, ontology=ontology)), tmp_path / "whole", "train", SPLIT_PAIRS
    )[0]
    (tmp_path / "shards").mkdir()
    for number, start in enumerate((0, 10)):
        part = pq.read_table(whole).slice(start, 10)
        pq.write_table(part, tmp_path / "shards" / f"train-{number:05d}.parquet", row_group_size=4)
    call = [*call, "--data", str(tmp_path / "shards"), "--streaming", "true", "--shuffle_buffer", "8"]
    assert_two_processes_train_the_weights_of_one_and_resume_them(call, tmp_path)
    index = pq.read_table(tmp_path / "2" / "training_index.parquet")
    assert index.num_rows == 16 and len(set(index["sha256"].to_pylist())) == 16
    assert len(json.loads((tmp_path / "2" / "phenotypes.json").read_text())) == 3
