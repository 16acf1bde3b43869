import copy

import pytest
import torch
from transformers import ConvNextConfig, ResNetConfig, ViTConfig

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import build_tower
from phenolip.train.tower_layers import freeze_batch_norm, freeze_first_blocks
from phenolip.train.towers import build_preset


@pytest.fixture(scope="module")
def mini():
    return build_preset("mini")


def trained(module):
    """Names of the weights that a step moves."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_frozen_statistics_survive_train(mini):
    model = freeze_batch_norm(copy.deepcopy(mini[0].vision_model))
    model.train()
    assert model.training and model.tower.stem.training
    norm = model.tower.stem.normalization
    before = norm.running_mean.clone()
    model(torch.randn(2, 3, 64, 64)).image_embeds.sum().backward()
    assert torch.equal(norm.running_mean, before)
    assert norm.weight.grad is not None
    copied = copy.deepcopy(model).train()
    copied.tower.stem.normalization.running_mean.fill_(7.0)
    assert not copied.tower.stem.normalization.training
    assert torch.equal(norm.running_mean, before)


def test_the_last_blocks_train_and_what_follows_them(mini):
    tower = copy.deepcopy(mini[0].vision_model.tower)
    freeze_first_blocks(tower, 2)
    assert {name.split(".")[0] for name in trained(tower)} == {"blocks", "head"}
    assert {name.split(".")[1] for name in trained(tower) if name.startswith("blocks")} == {"14", "15"}
    assert {name for name, _ in tower.named_parameters() if name.startswith(("blocks.14.", "head."))} <= trained(tower)
    freeze_first_blocks(tower, 0)
    assert not trained(tower)
    whole = copy.deepcopy(mini[0].vision_model.tower)
    freeze_first_blocks(whole, 16)
    assert {name.split(".")[0] for name, p in whole.named_parameters() if not p.requires_grad} == {"stem"}


def test_the_last_blocks_of_a_transformer():
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    tower = build_tower(ViTConfig(**sizes, image_size=32, patch_size=8))
    freeze_first_blocks(tower, 1)
    names = [name for name, _ in tower.named_parameters()]
    frozen = [name for name in names if name not in trained(tower)]
    assert frozen == [name for name in names if name.startswith("embeddings.") or ".0." in name]
    assert any(".1." in name for name in trained(tower)) and any("layernorm" in name for name in trained(tower))


@pytest.mark.parametrize("config", [
    ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16], depths=[1, 2, 2]),
    ConvNextConfig(num_stages=3, hidden_sizes=[8, 8, 16], depths=[1, 2, 2]),
])  # fmt: skip
def test_blocks_of_a_tower_of_stages_are_those_of_all_stages(config):
    tower = build_tower(config)
    freeze_first_blocks(tower, 3)  # both blocks of the last stage, one of the stage before
    names = [name for name, _ in tower.named_parameters()]
    stages = ("encoder.stages.1.layers.1.", "encoder.stages.2.", "layernorm.")
    assert trained(tower) == {name for name in names if name.startswith(stages)}
    freeze_first_blocks(whole := build_tower(config), 5)
    assert trained(whole) > trained(tower) and not any(name.startswith("embedder.") for name in trained(whole))
    with pytest.raises(ConfigurationError, match="from 0 to 5 .* got 6"):
        freeze_first_blocks(tower, 6)


def test_a_block_without_weights(mini):
    tower = copy.deepcopy(mini[0].vision_model.tower)
    tower.blocks[15] = torch.nn.Identity()
    freeze_first_blocks(tower, 2)
    assert {name.split(".")[1] for name in trained(tower) if name.startswith("blocks")} == {"14"}
    with pytest.raises(ConfigurationError, match="must reach a block with weights in this tower, got 1"):
        freeze_first_blocks(tower, 1)


@pytest.mark.parametrize("num_trained", [-1, 17])
def test_blocks_out_of_range(mini, num_trained):
    tower = copy.deepcopy(mini[0].vision_model.tower)
    with pytest.raises(ConfigurationError, match=f"`vision_blocks` must be from 0 to 16 .* got {num_trained}"):
        freeze_first_blocks(tower, num_trained)
    assert len(trained(tower)) == len(list(tower.parameters()))


def test_a_step_leaves_frozen_weights_as_they_were(mini):
    model = copy.deepcopy(mini[0].vision_model)
    freeze_first_blocks(model.tower, 1)
    freeze_batch_norm(model).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    model(torch.randn(2, 3, 64, 64)).image_embeds[:, 0].sum().backward()
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    optimizer.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}
