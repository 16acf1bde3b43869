"""Adapters: what trains, that they begin as nothing, and that saved, loaded and merged ones compute the same."""

import argparse
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from phenolip.cli import merge as merge_command
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train import stage2
from phenolip.train.adapters import adapter_layers, add_adapters, merge_adapter, save_adapter
from phenolip.train.optimizer import build_optimizer
from phenolip.train.saved_model import load_saved, saved_image_size
from phenolip.train.stage2_arguments import ModelArguments

from .test_stages import image_folder  # noqa: F401

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    ids = torch.randint(4, 40, (3, 9))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(3, 3, 32, 32)}


@pytest.fixture
def model(tiny_model_dir):
    return PhenoLIPModel.from_pretrained(tiny_model_dir).eval()


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits_per_image


def trained_some(model, base, inputs, **settings):
    """An adapted model after three steps, and its losses."""
    adapted = add_adapters(model, base, **({"rank": 4, "alpha": 8} | settings))
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2)
    losses = []
    for _ in range(3):
        loss = model(**inputs, return_loss=True).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted, losses


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("targets", [("attention",), ("linear",)])
def test_steps_save_load_and_merge(model, tiny_model_dir, inputs, tmp_path, targets, use_dora):
    before = logits(model, inputs)
    adapted, losses = trained_some(model, tiny_model_dir, inputs, targets=targets, use_dora=use_dora)
    assert losses[2] < losses[0]
    after = logits(model, inputs)
    assert (after - before).abs().max() > 1e-2
    save_adapter(adapted, tmp_path)
    fresh = PhenoLIPModel.from_pretrained(tiny_model_dir)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path)
    assert torch.equal(loaded.base_model.model.logit_scale, model.logit_scale)
    assert (logits(loaded.base_model.model, inputs) - after).abs().max() <= 1e-6 * after.abs().max()
    merged = merge_adapter(PhenoLIPModel.from_pretrained(tiny_model_dir), tmp_path)
    assert type(merged) is PhenoLIPModel
    assert set(merged.state_dict()) == set(PhenoLIPModel.from_pretrained(tiny_model_dir).state_dict())
    assert (logits(merged, inputs) - after).abs().max() <= 1e-6 * after.abs().max()


def test_adapters_begin_as_nothing_and_train_with_projections_and_scale(model, tiny_model_dir, inputs):
    before = logits(model, inputs)
    add_adapters(model, tiny_model_dir, rank=2, alpha=4)
    assert torch.equal(logits(model, inputs), before)
    model(**inputs, return_loss=True).loss.backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert "logit_scale" in with_gradient
    kinds = {"lora_": 0, "projection.modules_to_save": 0, "logit_scale": 0}
    for name in with_gradient:
        (kind,) = [kind for kind in kinds if kind in name]
        kinds[kind] += 1
    assert (
        kinds["lora_"] == 2 * 2 * 2 * 2 and kinds["projection.modules_to_save"] >= 2
    )  # A and B, q and v, layers, towers
    assert with_gradient == {name for name, p in model.named_parameters() if p.requires_grad}


def test_adapters_learn_at_the_rate_of_new_layers(model, tiny_model_dir):
    add_adapters(model, tiny_model_dir, rank=2, alpha=4)
    run = argparse.Namespace(
        learning_rate=1.0, head_learning_rate=2.0, weight_decay=0.1, optimizer="adamw", adam_beta1=0.9, adam_beta2=0.98
    )
    assert {group["peak"] for group in build_optimizer(model, run).param_groups} == {2.0}


def test_layers_by_name(model):
    by_end = adapter_layers(model, ("query",))
    assert by_end and all(name.endswith(".query") for name in by_end)
    assert len(adapter_layers(model, ("linear",))) > len(adapter_layers(model, ("attention",)))
    model.text_model.tower.requires_grad_(False)
    assert all(name.startswith("vision_model.tower.") for name in adapter_layers(model, ("linear",)))
    with pytest.raises(ConfigurationError, match="`lora_targets` must be attention, linear .* got 'query'"):
        adapter_layers(model, ("query",))


def train(base, image_folder, slice_path, output, settings=""):  # noqa: F811
    AcceleratorState._reset_state(True)
    call = f"--init_from {base} --data {image_folder} --hpo {slice_path} --output_dir {output} --knowledge_weight 0"
    call += f" --name_weight 1 --max_steps 4 --batch_size 4 --log_steps 1 --lora_rank 4 --lora_dropout 0.1 {settings}"
    stage2.main(call.split())
    return output


def test_stage2_with_adapters_resumes_to_the_bit(tiny_model_dir, image_folder, slice_path, tmp_path, inputs):  # noqa: F811
    whole = train(tiny_model_dir, image_folder, slice_path, tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(tiny_model_dir, image_folder, slice_path, tmp_path / "parts", "--stop_after_steps 2")
    torch.rand(5)
    parts = train(tiny_model_dir, image_folder, slice_path, tmp_path / "parts", "--resume true")
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        found = load_file(parts / name)
        assert all(torch.equal(tensor, found[key]) for key, tensor in load_file(whole / name).items())
    plain = PhenoLIPModel.from_pretrained(whole)
    loaded = peft.PeftModel.from_pretrained(PhenoLIPModel.from_pretrained(tiny_model_dir), whole / "adapter")
    expected = logits(loaded.base_model.model, inputs)
    assert (logits(plain, inputs) - expected).abs().max() <= 1e-6 * expected.abs().max()
    config = json.loads((whole / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model_dir)


@pytest.mark.slow
def test_adapters_of_an_adapted_model_by_gradient_caching(tiny_model_dir, image_folder, slice_path, tmp_path):  # noqa: F811
    whole = train(tiny_model_dir, image_folder, slice_path, tmp_path / "whole")
    again = train(whole, image_folder, slice_path, tmp_path / "again", "--micro_batch_size 2 --use_dora true")
    assert pq.read_table(again / "training_index.parquet").num_rows == 24  # its own and those of the model before


@pytest.mark.slow
def test_frozen_text_and_checkpointing_go_with_adapters(tiny_model_dir, image_folder, slice_path, tmp_path):  # noqa: F811
    output = train(
        tiny_model_dir, image_folder, slice_path, tmp_path / "out", "--freeze_text true --gradient_checkpointing true"
    )
    names = load_file(output / "adapter" / "adapter_model.safetensors")
    assert not any("text_model.tower" in name for name in names) and any(
        "vision_model.tower" in name for name in names
    )
    text = {k: v for k, v in PhenoLIPModel.from_pretrained(output).state_dict().items() if "text_model.tower" in k}
    before = PhenoLIPModel.from_pretrained(tiny_model_dir).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in text.items())


@pytest.mark.slow
def test_full_fine_tuning_from_a_saved_model(tiny_model_dir, image_folder, slice_path, tmp_path):  # noqa: F811
    output = train(tiny_model_dir, image_folder, slice_path, tmp_path / "full", "--lora_rank 0 --learning_rate 0")
    assert not (output / "adapter").exists()
    tower = {k: v for k, v in PhenoLIPModel.from_pretrained(output).state_dict().items() if ".tower." in k}
    before = PhenoLIPModel.from_pretrained(tiny_model_dir).state_dict()
    assert tower and all(torch.equal(value, before[name]) for name, value in tower.items())
    assert saved_image_size(output) == saved_image_size(tiny_model_dir) == 32


def test_merge_command(model, tiny_model_dir, inputs, tmp_path, capsys):
    adapted, _ = trained_some(model, tiny_model_dir, inputs)
    save_adapter(adapted, tmp_path / "adapter")
    parser = argparse.ArgumentParser()
    merge_command.add_arguments(parser)
    call = [str(tiny_model_dir), str(tmp_path / "adapter"), "--output", str(tmp_path / "merged")]
    assert merge_command.run(parser.parse_args(call)) == 0 and "Merged" in capsys.readouterr().out
    merged = PhenoLIPModel.from_pretrained(tmp_path / "merged")
    expected = logits(model, inputs)
    assert (logits(merged, inputs) - expected).abs().max() <= 1e-6 * expected.abs().max()
    PhenoLIPProcessor.from_pretrained(tmp_path / "merged", config=merged.config)
    with pytest.raises(ConfigurationError, match="`--output` must be a new or empty folder"):
        merge_command.run(parser.parse_args(call))
    with pytest.raises(ConfigurationError, match="`adapter` must be a folder with adapter_config.json"):
        merge_adapter(merged, tiny_model_dir)


@pytest.mark.slow
def test_a_merged_and_an_adapted_model_load_where_phenolip_is_absent(model, tiny_model_dir, inputs, tmp_path):
    adapted, _ = trained_some(model, tiny_model_dir, inputs)
    save_adapter(adapted, tmp_path / "adapter")
    torch.save(inputs, tmp_path / "inputs.pt")
    torch.save(logits(model, inputs), tmp_path / "logits.pt")
    code = f"""
import sys, torch
sys.modules["phenolip"] = None
from transformers import AutoModel
from peft import PeftModel
base = AutoModel.from_pretrained({str(tiny_model_dir)!r}, trust_remote_code=True)
model = PeftModel.from_pretrained(base, {str(tmp_path / "adapter")!r}).eval()
with torch.no_grad():
    found = model(**torch.load({str(tmp_path / "inputs.pt")!r})).logits_per_image
torch.testing.assert_close(found, torch.load({str(tmp_path / "logits.pt")!r}), rtol=1e-5, atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_rank": 4}, "`init_from` must be given where `lora_rank` is above 0, got None"),
        ({"lora_rank": -1}, "`lora_rank` must be 0 or above"),
        ({"lora_rank": 4, "init_from": "x", "lora_alpha": 0}, "`lora_alpha` must be above 0"),
        ({"lora_rank": 4, "init_from": "x", "lora_dropout": 1}, "`lora_dropout` must be at least 0 and below 1"),
        ({"lora_rank": 4, "init_from": "x", "lora_targets": []}, "`lora_targets` must be one layer or more"),
        ({"lora_rank": 4, "init_from": "x", "freeze_batch_norm": False}, "`freeze_batch_norm` must be true"),
        ({"use_dora": True}, "`lora_rank` must be above 0 where `use_dora` is true"),
        ({"init_from": "x", "text_layers": 1}, "`text_layers` must be left out where `init_from` is given, got 1"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ModelArguments(**settings)


def test_a_start_that_is_no_model(tiny_model_dir, tmp_path):
    with pytest.raises(ConfigurationError, match="`init_from` must be the folder or id of a PhenoLIP model"):
        load_saved(tmp_path, image_size=32)
    with pytest.raises(ConfigurationError, match="`init_from` must be the folder or id of a PhenoLIP model"):
        saved_image_size(tmp_path)
    with pytest.raises(ConfigurationError, match="`max_length` must be from 1 to 64 for this text tower, got 65"):
        load_saved(tiny_model_dir, image_size=32, max_length=65)
