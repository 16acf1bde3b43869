"""Training in shards: what is refused, what stays whole, and a copy that takes the weights and gives them back."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from phenolip.exceptions import ConfigurationError
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.sharding import WholeState, restore, scalars, shardable, sharding_plugin

LAUNCH = Path(__file__).resolve().parents[2] / "train/launch"


def environment(monkeypatch, *changes):
    """What `accelerate launch --config_file fsdp2.yaml` leaves to its processes."""
    words = ["--config_file", str(LAUNCH / "fsdp2.yaml"), *changes, "script.py"]
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    for name, value in prepare_multi_gpu_env(args).items():
        if name.startswith(("FSDP_", "ACCELERATE_")) and os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


def test_the_config_is_one_of_fsdp2_with_whole_checkpoints():
    config = load_config_from_file(str(LAUNCH / "fsdp2.yaml"))
    assert str(config.distributed_type).endswith("FSDP") and config.num_processes == 8
    assert config.fsdp_config["fsdp_version"] == 2 and config.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


def test_the_launcher_hands_the_config_on(monkeypatch):
    environment(monkeypatch)
    plugin = sharding_plugin("bf16")
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


def test_what_the_page_puts_before_sbatch_is_enough(monkeypatch):
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    assert sharding_plugin("bf16").reshard_after_forward is True


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FSDP_VERSION", "1", "`fsdp_version` must be 2, got 1"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "`fsdp_cpu_ram_efficient_loading` must be false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "give the run `gradient_checkpointing: true`"),
        ("FSDP_OFFLOAD_PARAMS", "true", "`fsdp_offload_params` must be false"),
        (
            "FSDP_AUTO_WRAP_POLICY",
            "SIZE_BASED_WRAP",
            "must be TRANSFORMER_BASED_WRAP or NO_WRAP, got 'SIZE_BASED_WRAP'",
        ),
    ],
)
def test_settings_under_which_the_loop_would_not_be_exact_are_refused(monkeypatch, name, value, message):
    environment(monkeypatch)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message):
        sharding_plugin("no")


def test_fp16_is_refused(monkeypatch):
    environment(monkeypatch)
    with pytest.raises(ConfigurationError, match="must be auto, no or bf16 under FSDP2, got 'fp16'"):
        sharding_plugin("fp16")


def test_deepspeed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigurationError, match="`--use_deepspeed` must be left out"):
        build_accelerator(RunArguments(output_dir=str(tmp_path)))


@pytest.fixture
def accelerator(monkeypatch):
    """As much of one as `shardable` asks for."""
    environment(monkeypatch)
    state = SimpleNamespace(fsdp_plugin=sharding_plugin("no"))
    return SimpleNamespace(device=torch.device("cpu"), state=state, autocast=torch.no_grad)


def test_a_copy_takes_the_weights_and_gives_them_back(build_objective, accelerator):
    objective = build_objective()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    held = objective.model.text_model
    copied = shardable(objective, accelerator)
    assert all(weight.numel() == 0 for weight in objective.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in copied.state_dict().items())
    (kept,) = accelerator.state.fsdp_plugin.ignored_modules
    assert set(kept) == set(scalars(copied)) == {copied.model.logit_scale, copied.distillation.log_scale}
    assert accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == ["BertLayer", "ViTLayer"]
    with torch.no_grad():
        for weight in copied.parameters():
            weight.add_(1)
    restore(objective, copied)
    after = objective.state_dict()
    assert all(torch.equal(after[name], before[name] + 1) for name, _ in objective.named_parameters())
    assert objective.model.text_model is held and objective.model.logit_scale.shape == ()


def test_layers_that_processes_read_unevenly_are_not_gathered_one_by_one(build_objective, accelerator):
    objective = build_objective()
    objective.findings = torch.nn.Identity()
    shardable(objective, accelerator)
    assert accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == ["ViTLayer"]


def test_compiled_towers_are_refused(build_objective, accelerator):
    objective = build_objective()
    objective.model.vision_model.tower.compile(backend="eager")
    with pytest.raises(ConfigurationError, match="`torch_compile` must be no under FSDP2"):
        shardable(objective, accelerator)


def test_states_of_whole_tensors_pass_through_in_any_layout(build_objective):
    objective = build_objective()
    objective.model.vision_model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2, fused=True)
    sum(weight.sum() for weight in objective.parameters()).backward()
    optimizer.step()
    state, of_optimizer = WholeState(objective).state_dict(), WholeState(optimizer).state_dict()
    assert all(tensor.is_contiguous() for tensor in state.values())
    again = build_objective()
    again.model.vision_model.to(memory_format=torch.channels_last)
    WholeState(again).load_state_dict({f"module.{name}": tensor for name, tensor in state.items()})
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    fresh = torch.optim.AdamW(again.parameters(), lr=1e-2, fused=True)
    WholeState(fresh).load_state_dict(of_optimizer)
    for old, new in zip(optimizer.state.values(), fresh.state.values(), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    for weight, moments in fresh.state.items():
        assert moments["exp_avg"].stride() == weight.stride()
