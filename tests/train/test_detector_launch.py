"""The detector as a user starts it on two processes: the weights of one process."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from phenolip.train import detector

pytestmark = pytest.mark.slow


def test_two_processes_train_the_weights_of_one(tmp_path):
    (tmp_path / "data").mkdir()
    rows = []
    for row in range(8):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{row}.png")
        boxes = [[2, 2, 20 + row, 30], [32, 4, 58, 38]][: 1 + row % 2]  # processes have different numbers of boxes
        rows.append({"file_name": f"{row}.png", "boxes": boxes})
    (tmp_path / "data" / "boxes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = (
        f"--data {tmp_path / 'data'} --image_size 32 --hidden_size 16 --ffn_dim 16 --num_attention_heads 2 "
        "--encoder_layers 1 --decoder_layers 2 --backbone_sizes 8 8 --backbone_depths 1 1 --num_queries 6 "
        "--batch_size 4 --max_steps 3 --mixed_precision no --num_threads 1"
    ).split()
    weights = []
    for num_processes in ("1", "2"):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", num_processes, "--standalone"]
        output_dir = tmp_path / num_processes
        call = [*launcher, detector.__file__, *settings, "--output_dir", str(output_dir)]
        ended = subprocess.run(call, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        weights.append(load_file(output_dir / "model.safetensors"))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
