"""Joined models: scores are the means of the members', wherever a model goes; members that do not fit are named."""

import pytest
import torch

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPVisionModel
from phenolip.train.join_models import join_models


def member_of(folder, seed):
    """The small model with other weights in its image tower, its projections and its temperature."""
    model = PhenoLIPModel.from_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith("text_model.tower."):
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, 13, (3, 7), generator=generator)
    return {"input_ids": ids, "pixel_values": torch.randn(4, 3, 32, 32, generator=generator)}


@pytest.mark.parametrize("num_members", [2, 3])
def test_cosines_are_the_means_of_the_members(tiny_model_dir, inputs, num_members):
    members = [member_of(tiny_model_dir, seed) for seed in range(num_members)]
    joined = join_models(members)
    with torch.no_grad():
        found, alone = joined(**inputs), [member(**inputs) for member in members]
    cosines = torch.stack([output.image_embeds @ output.text_embeds.T for output in alone]).mean(0)
    torch.testing.assert_close(found.image_embeds @ found.text_embeds.T, cosines)
    scale = torch.stack([member.logit_scale.exp() for member in members]).mean()
    torch.testing.assert_close(found.logits_per_image, scale * cosines)
    torch.testing.assert_close(found.image_embeds.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(found.text_embeds.norm(dim=-1), torch.ones(3))
    assert found.image_embeds.shape[1] == num_members * members[0].config.projection_dim
    features = torch.cat([output.vision_model_output.pooler_output for output in alone], dim=1)
    torch.testing.assert_close(found.vision_model_output.pooler_output, features)
    torch.testing.assert_close(joined.vision_model.project(features), found.image_embeds)  # cached features


def test_a_joined_model_is_saved_loaded_and_trained_like_any_other(tiny_model_dir, inputs, tmp_path):
    members = [member_of(tiny_model_dir, seed) for seed in range(2)]
    joined = join_models(members)
    joined.save_pretrained(tmp_path)
    again = PhenoLIPModel.from_pretrained(tmp_path).eval()
    loss = again(input_ids=inputs["input_ids"][:3], pixel_values=inputs["pixel_values"][:3], return_loss=True).loss
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits_per_image, joined(**inputs).logits_per_image, atol=0, rtol=0)
        vision = PhenoLIPVisionModel.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(vision(inputs["pixel_values"]).image_embeds, joined(**inputs).image_embeds)
        layers = [
            model(inputs["pixel_values"], output_hidden_states=True).hidden_states
            for model in (vision, *(member.vision_model for member in members))
        ]
    for found, *alone in zip(*layers, strict=True):
        torch.testing.assert_close(found, torch.cat(alone, dim=1 if found.ndim == 4 else -1))
    loss.backward()
    assert [name for name, weight in again.named_parameters() if weight.grad is None] == []


def test_members_that_do_not_fit_are_named(tiny_model_dir):
    one, two = (member_of(tiny_model_dir, seed) for seed in range(2))
    with pytest.raises(ConfigurationError, match="`members` must be two models or more, got 1"):
        join_models([one])
    joined = join_models([one, two])
    with pytest.raises(ConfigurationError, match="must have one part each; number 0 is joined of several"):
        join_models([joined, two])
    with torch.no_grad():
        next(two.text_model.tower.parameters()).add_(1.0)
    with pytest.raises(ConfigurationError, match="must share their text tower, but number 1 has other weights there"):
        join_models([one, two])
    other = PhenoLIPModel(type(one.config)(**{**one.config.to_dict(), "projection_dim": 8, **narrower(one.config)}))
    with pytest.raises(ConfigurationError, match="must be alike, but number 1 has another `text_config`"):
        join_models([one, other])


def narrower(config):
    sides = {"text_config": config.text_config.to_dict(), "vision_config": config.vision_config.to_dict()}
    return {name: {**side, "projection_dim": 8} for name, side in sides.items()}
