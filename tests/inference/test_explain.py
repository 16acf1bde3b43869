"""Maps and neighbours: closed forms, a plain loop, the sanity check, and what is written."""

import numpy as np
import pytest
import torch
from PIL import Image

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.encoder import Encoder
from phenolip.inference.explain import (
    explain,
    heat_map,
    model_pixels,
    neighbours,
    random_weights_correlation,
    seen_picture,
    spearman,
)
from phenolip.inference.explain_maps import gradient_map, occlusion_map
from phenolip.inference.explain_picture import colour_map, explanation_picture, overlay, png_bytes
from phenolip.modeling_phenolip import PhenoLIPModel

ROOT, EYE, LENS, CATARACT, NUCLEAR = "HP:0000118", "HP:0000478", "HP:0000517", "HP:0000518", "HP:0100018"
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {
    "vit": {"tower_config": {"model_type": "vit", "image_size": 32, "patch_size": 8, **TOWER}},
    "vit_mean": {"tower_config": {"model_type": "vit", "image_size": 32, "patch_size": 8, **TOWER}, "pooling": "mean"},
    "clip": {"tower_config": {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8, **TOWER}},
    "siglip": {"tower_config": {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, **TOWER}},
    "dinov2": {"tower_config": {"model_type": "dinov2", "image_size": 32, "patch_size": 8, **TOWER}},
    "efficientnet_lite": {"tower_config": {"model_type": "efficientnet_lite"}},
    "convnext": {"tower_config": {"model_type": "convnext", "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 32]}},
}


@pytest.fixture(scope="module")
def encoder(tiny_model_dir):
    return Encoder.from_pretrained(tiny_model_dir, "cpu")


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))


def small_model(kind):
    torch.manual_seed(0)
    text = {"tower_config": {"model_type": "bert", "vocab_size": 100, "max_position_embeddings": 64, **TOWER}}
    return PhenoLIPModel(PhenoLIPConfig(text_config=text, vision_config=VISION[kind], projection_dim=16)).eval()


def direction(seed=1, width=16):
    vector = np.random.default_rng(seed).normal(size=width).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("kind", VISION)
def test_gradient_maps_of_every_tower_family(kind):
    model = small_model(kind)
    model.requires_grad_(False)
    implementation = model.vision_model.tower.config._attn_implementation
    side = 96 if kind in ("efficientnet_lite", "convnext") else 32  # a stride of 32: one place alone says nothing
    heat = gradient_map(model, torch.randn(1, 3, side, side), direction())
    assert heat.shape == (side, side) and np.isfinite(heat).all() and (heat >= 0).all() and heat.max() > 0
    assert model.vision_model.tower.config._attn_implementation == implementation
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_maps_of_a_joined_model():
    maps = {}
    for kind in ("efficientnet_lite", "vit"):
        one = small_model(kind).config
        parts = {"num_parts": 2, "projection_dim": 16}
        sides = {name: {**getattr(one, name).to_dict(), **parts} for name in ("text_config", "vision_config")}
        torch.manual_seed(0)
        maps[kind] = PhenoLIPModel(PhenoLIPConfig(**sides)).eval()
    heat = gradient_map(maps["efficientnet_lite"], torch.randn(1, 3, 96, 96), direction())
    assert heat.shape == (96, 96) and heat.max() > 0
    before = [tower.config._attn_implementation for tower in maps["vit"].vision_model.towers]
    with pytest.raises(ConfigurationError, match="must show its attention .*; use occlusion"):
        gradient_map(maps["vit"], torch.randn(1, 3, 32, 32), direction())
    assert [tower.config._attn_implementation for tower in maps["vit"].vision_model.towers] == before


def test_grad_cam_is_its_formula():
    model, pixels, target = small_model("efficientnet_lite"), torch.randn(1, 3, 64, 64), direction()
    vision = model.vision_model
    features = vision.tower(pixels).last_hidden_state.detach().requires_grad_(True)
    score = vision.project(features.flatten(2).mean(2))[0] @ torch.tensor(target)
    score.backward()
    alpha = features.grad.mean((2, 3))[0]  # (C,)
    expected = sum(alpha[c] * features.detach()[0, c] for c in range(features.shape[1])).clamp(min=0)
    expected = torch.nn.functional.interpolate(expected[None, None], (64, 64), mode="bilinear")[0, 0]
    np.testing.assert_allclose(gradient_map(model, pixels, target), expected.numpy(), atol=1e-6)


def test_attention_rollout_is_the_product_of_matrices():
    model, pixels, target = small_model("vit"), torch.randn(1, 3, 32, 32), direction()
    model.set_attn_implementation("eager")
    output = model.vision_model(pixels, output_attentions=True)
    score = output.image_embeds[0] @ torch.tensor(target)
    gradients = torch.autograd.grad(score, output.attentions)
    relevance = torch.eye(17)
    for attention, gradient in zip(output.attentions, gradients, strict=True):
        relevance = relevance + (gradient[0] * attention[0]).clamp(min=0).mean(0) @ relevance
    expected = relevance[0, 1:].reshape(1, 1, 4, 4).detach()
    expected = torch.nn.functional.interpolate(expected, (32, 32), mode="bilinear")[0, 0]
    np.testing.assert_allclose(gradient_map(model, pixels, target), expected.numpy(), atol=1e-7)


def test_occlusion_equals_a_plain_loop_over_pixels():
    model, pixels, target = small_model("vit"), torch.randn(1, 3, 32, 32), direction()
    falls = {}
    with torch.inference_mode():
        whole = model.get_image_features(pixels)[0] @ torch.tensor(target)
        for top in range(-6, 32, 6):
            for left in range(-6, 32, 6):
                hidden = pixels.clone()
                hidden[:, :, max(0, top) : top + 12, max(0, left) : left + 12] = 0
                falls[top, left] = float(whole - model.get_image_features(hidden)[0] @ torch.tensor(target))
    expected = np.array(
        [
            [
                np.mean([fall for (t, s), fall in falls.items() if t <= y < t + 12 and s <= x < s + 12])
                for x in range(32)
            ]
            for y in range(32)
        ]
    )
    heat = occlusion_map(model, pixels, target, square_px=12, stride_px=6, batch_size=5)
    np.testing.assert_allclose(heat, expected, atol=1e-6)


def test_occlusion_finds_the_only_place_that_counts():
    class Corner(torch.nn.Module):
        """Looks at one square of the image."""

        def get_image_features(self, pixels):
            return pixels[:, :1, 4:8, 20:24].mean((2, 3))

    heat = occlusion_map(Corner(), torch.ones(1, 3, 32, 32), np.ones(1, np.float32), square_px=8, stride_px=4)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 4 <= y < 8 and 20 <= x < 24
    assert heat[20:, :12].max() == 0


@pytest.mark.parametrize("sizes", [(0, 1), (40, 4), (8, 9), (8, 0)])
def test_occlusion_sizes(sizes):
    with pytest.raises(ConfigurationError, match="`stride_px` must be at least 1"):
        occlusion_map(
            small_model("vit"), torch.zeros(1, 3, 32, 32), direction(), square_px=sizes[0], stride_px=sizes[1]
        )


def test_neighbours_once_each_and_capped(diamond):
    found = neighbours(diamond, CATARACT)
    assert found == {"HP:0000001": "parent", LENS: "parent", NUCLEAR: "child"}
    assert neighbours(diamond, LENS) == {EYE: "parent", CATARACT: "child", "HP:0000001": "sibling"}
    assert len(neighbours(diamond, ROOT, limit=1)) == 1


def test_explanation_has_the_score_of_the_model(encoder, diamond, picture):
    found = explain(encoder, picture, LENS, diamond, method="occlusion")
    texts = [encoder.prompt_template.replace("{}", diamond[i].name) for i in (LENS, EYE)]
    expected = encoder.encode_images([picture]) @ encoder.encode_texts(texts).T
    assert found.cosine == pytest.approx(expected[0, 0], abs=1e-6)
    assert [row.relation for row in found.neighbours] == ["parent", "child", "sibling"]
    assert found.neighbours[0].cosine == pytest.approx(expected[0, 1], abs=1e-6)
    assert found.picture.size == found.heat.shape[::-1] == (32, 32)


def test_the_picture_is_what_the_model_sees(encoder):
    grey = Image.new("RGB", (32, 32), (10, 120, 250))
    assert np.abs(np.asarray(seen_picture(encoder, model_pixels(encoder, grey)), int) - (10, 120, 250)).max() <= 1


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_shuffled_weights_change_the_map(encoder, diamond, picture, method):
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    found = explain(encoder, picture, LENS, diamond, method=method, with_neighbours=False)
    assert abs(random_weights_correlation(encoder, picture, found)) < 0.8
    assert all(torch.equal(before[name], value) for name, value in encoder.model.state_dict().items())


def test_spearman_closed_forms():
    values = np.array([3.0, 1.0, 2.0, 8.0])
    assert spearman(values, np.exp(values)) == pytest.approx(1.0)
    assert spearman(values, -values) == pytest.approx(-1.0)
    assert spearman(values, np.ones(4)) == 0.0


def test_overlay_and_picture(encoder, diamond, picture):
    heat = np.zeros((32, 32), np.float32)
    heat[:8, :8] = 2.0
    plain, marked = overlay(picture, np.zeros((32, 32))), overlay(picture, heat)
    assert plain.size == marked.size == (448, 358)
    changed = (np.asarray(plain) != np.asarray(marked)).any(axis=2)
    assert changed[:60, :60].mean() > 0.9 and not changed[150:, 200:].any()
    whole = explanation_picture(explain(encoder, picture, LENS, diamond))
    assert whole.width > 2 * 448 and png_bytes(whole).startswith(b"\x89PNG")


def test_colours_rise_in_lightness_and_part_at_zero():
    light = colour_map(np.linspace(0, 1, 50)).astype(float) @ (0.299, 0.587, 0.114)
    assert (np.diff(light) > 0).all()
    assert colour_map(np.array([-1.0]))[0].argmax() == 2


def test_wrong_calls(encoder, diamond, picture, tiny_model_dir):
    with pytest.raises(ConfigurationError, match="`method` must be one of gradient, occlusion, got 'lime'"):
        explain(encoder, picture, LENS, diamond, method="lime")
    text = Encoder(encoder.model.text_model, encoder.tokenizer, name="text")
    with pytest.raises(ConfigurationError, match="must be a PhenoLIP model with an image side"):
        explain(text, picture, LENS, diamond)
    model = small_model("vit")
    for weight in model.vision_model.projection.parameters():
        torch.nn.init.constant_(weight, float("nan"))
    damaged = Encoder(model, encoder.tokenizer, encoder.image_processor, name="damaged")
    with pytest.raises(DataError, match="map with NaN or infinity"):
        heat_map(damaged, torch.zeros(1, 3, 32, 32), direction())
