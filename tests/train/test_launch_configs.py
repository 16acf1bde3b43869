"""Training as a user starts it by each config of train/launch, two processes: the weights of one, resumed or not."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from phenolip.train import stage1, stage2

from .test_launch import call  # noqa: F401

pytestmark = pytest.mark.slow
LAUNCH = Path(__file__).resolve().parents[2] / "train/launch"


def launch(num_processes, arguments, *, config=None, script=stage2):
    """One process, or as many as wanted by `accelerate launch` with a YAML of train/launch."""
    start = []
    if config is not None:
        where = ["--num_processes", str(num_processes), "--main_process_port", str(free_port())]
        start = ["-m", "accelerate.commands.launch", "--config_file", str(LAUNCH / config), *where]
    return subprocess.run([sys.executable, *start, script.__file__, *arguments], capture_output=True, text=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def weights_of(output_dir):
    return load_file(output_dir / "model.safetensors")


# AdamW makes much of the rounding of gradients that are all but 0; plain descent does not.
PLAIN = ["--optimizer", "sgd", "--momentum", "0.9", "--learning_rate", "1e-2", "--head_learning_rate", "1e-2"]


@pytest.fixture(scope="module")
def alone(call, tmp_path_factory):  # noqa: F811
    """Folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    ended = launch(1, [*call, *PLAIN, "--output_dir", str(folder)])
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("config", ["ddp.yaml", "fsdp2.yaml"])
@pytest.mark.parametrize("more", [[], ["--micro_batch_size", "3"]], ids=["plain", "gradient_cache"])
def test_the_configs_train_two_processes_to_the_weights_of_one(call, alone, tmp_path, config, more):  # noqa: F811
    ended = launch(2, [*call, *PLAIN, *more, "--log_steps", "1", "--output_dir", str(tmp_path)], config=config)
    assert ended.returncode == 0, ended.stderr
    weights, expected = weights_of(tmp_path), weights_of(alone)
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    assert AutoModel.from_pretrained(tmp_path, trust_remote_code=True).logit_scale.shape == ()


def test_a_run_in_shards_goes_on_in_shards_and_in_one_process(call, alone, tmp_path):  # noqa: F811
    whole, parts, one = tmp_path / "whole", tmp_path / "parts", tmp_path / "one"
    sharded = {"num_processes": 2, "config": "fsdp2.yaml"}
    ended = launch(arguments=[*call, "--output_dir", str(whole)], **sharded)
    assert ended.returncode == 0, ended.stderr
    stopped = launch(arguments=[*call, "--output_dir", str(parts), "--stop_after_steps", "3"], **sharded)
    checkpoint = parts / "checkpoints" / "step_00000003"
    assert stopped.returncode != 0 and checkpoint.is_dir(), stopped.stderr
    assert {"model.safetensors", "optimizer.bin", "random_states_1.pkl"} <= {
        path.name for path in checkpoint.iterdir()
    }
    shutil.copytree(parts, one)
    for folder, how in ((parts, sharded), (one, {"num_processes": 1})):
        ended = launch(arguments=[*call, "--output_dir", str(folder), "--resume", "true"], **how)
        assert ended.returncode == 0, ended.stderr
    for name, tensor in weights_of(whole).items():
        assert torch.equal(weights_of(parts)[name], tensor), name
        torch.testing.assert_close(weights_of(one)[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_stage1_in_shards_trains_and_measures_the_encoder_of_one_process(call, slice_path, tmp_path):  # noqa: F811
    text = call[call.index("--text_path") + 1]
    words = f"--text_path {text} --hpo {slice_path} --max_length 32 --max_steps 4 --batch_size 6 --dropout 0"
    words += " --learn_temperature true --evaluation_definitions 5 --mixed_precision no --num_threads 1 "
    measured = {}
    for name, how in (("one", {"num_processes": 1}), ("two", {"num_processes": 2, "config": "fsdp2.yaml"})):
        ended = launch(arguments=[*words.split(), *PLAIN, "--output_dir", str(tmp_path / name)], script=stage1, **how)
        assert ended.returncode == 0, ended.stderr
        measured[name] = json.loads((tmp_path / name / "knowledge_measured.json").read_text())["metrics"]
    for name, tensor in weights_of(tmp_path / "one").items():
        torch.testing.assert_close(weights_of(tmp_path / "two")[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    assert measured["one"].keys() == measured["two"].keys()
