"""Patch dropout: which tokens stay, and when."""

import pytest
import torch

from phenolip.configuration_phenolip import PhenoLIPVisionConfig
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPVisionModel
from phenolip.train.patch_dropout import NUM_PREFIX_TOKENS, drop_patches, keep_some

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def vision_model(tower: str, **size) -> PhenoLIPVisionModel:
    torch.manual_seed(0)
    return PhenoLIPVisionModel(PhenoLIPVisionConfig(tower_config={"model_type": tower, **size}, projection_dim=8))


def test_prefix_and_order_are_kept():
    tokens = torch.arange(2 * 9, dtype=torch.float32).view(2, 9, 1)
    kept = keep_some(tokens, 1, 0.5)
    assert kept.shape == (2, 5, 1)
    assert kept[:, 0].equal(tokens[:, 0])
    assert (kept[:, 1:].diff(dim=1) > 0).all()
    assert set(kept[0].flatten().tolist()) <= set(tokens[0].flatten().tolist())
    assert keep_some(tokens, 1, 0.99).shape == (2, 2, 1)


def test_every_patch_is_as_likely_as_any_other():
    torch.manual_seed(0)
    tokens = torch.eye(8).expand(4000, 8, 8)
    shares = keep_some(tokens, 0, 0.75).sum(dim=1).mean(dim=0)
    torch.testing.assert_close(shares, torch.full((8,), 0.25), atol=0.03, rtol=0)


@pytest.mark.parametrize("tower", NUM_PREFIX_TOKENS)
def test_only_training_drops(tower):
    model, plain = vision_model(tower, **SIZE), vision_model(tower, **SIZE)
    drop_patches(model.tower, 0.5)
    pixels = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model.eval()(pixels).image_embeds, plain.eval()(pixels).image_embeds, atol=0, rtol=0)
    output = model.train()(pixels)
    assert output.last_hidden_state.shape[1] == NUM_PREFIX_TOKENS[tower] + 8
    output.image_embeds.sum().backward()


def test_refuses_other_towers_and_shares():
    model = vision_model("efficientnet_lite")
    with pytest.raises(ConfigurationError, match="`patch_dropout` must be 0 unless the tower is one of vit"):
        drop_patches(model.tower, 0.5)
    drop_patches(model.tower, 0.0)
    with pytest.raises(ConfigurationError, match="`patch_dropout` must be at least 0 and below 1, got 1.0"):
        drop_patches(model.tower, 1.0)
