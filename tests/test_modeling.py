import copy
import math

import pytest
import torch

from phenolip.configuration_phenolip import (
    TEXT_POOLINGS,
    VISION_POOLINGS,
    PhenoLIPConfig,
    PhenoLIPTextConfig,
    PhenoLIPVisionConfig,
)
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPTextModel, PhenoLIPVisionModel

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT_TOWERS = {
    "bert": {**TRANSFORMER, "vocab_size": 64, "max_position_embeddings": 40},
    "roberta": {**TRANSFORMER, "vocab_size": 64, "max_position_embeddings": 40, "pad_token_id": 1},
    "modernbert": {
        **TRANSFORMER,
        "vocab_size": 64,
        "max_position_embeddings": 40,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
    "clip_text_model": {**TRANSFORMER, "vocab_size": 64, "max_position_embeddings": 40, "eos_token_id": 3},
    "siglip_text_model": {**TRANSFORMER, "vocab_size": 64, "max_position_embeddings": 40, "projection_size": 24},
}
VISION_TOWERS = {
    "vit": {**TRANSFORMER, "image_size": 32, "patch_size": 8},
    "clip_vision_model": {**TRANSFORMER, "image_size": 32, "patch_size": 8},
    "siglip_vision_model": {**TRANSFORMER, "image_size": 32, "patch_size": 8},
    "dinov2": {**TRANSFORMER, "image_size": 32, "patch_size": 8},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "efficientnet_lite": {
        "stem_size": 8,
        "hidden_sizes": [8, 12],
        "depths": [1, 2],
        "kernel_sizes": [3, 5],
        "strides": [1, 2],
        "expand_ratios": [1, 2],
        "hidden_size": 24,
    },
}
EVERY_TEXT_POOLING = [(tower, pooling) for tower, poolings in TEXT_POOLINGS.items() for pooling in poolings]
EVERY_VISION_POOLING = [(tower, pooling) for tower, poolings in VISION_POOLINGS.items() for pooling in poolings]


def tower_config(model_type: str) -> dict:
    return {"model_type": model_type, **{**TEXT_TOWERS, **VISION_TOWERS}[model_type]}


def text_model(model_type: str = "bert", **changes) -> PhenoLIPTextModel:
    torch.manual_seed(0)
    changes = {"projection_dim": 16, **changes}
    return PhenoLIPTextModel(PhenoLIPTextConfig(tower_config=tower_config(model_type), **changes)).eval()


def vision_model(model_type: str = "vit", **changes) -> PhenoLIPVisionModel:
    torch.manual_seed(0)
    changes = {"projection_dim": 16, **changes}
    return PhenoLIPVisionModel(PhenoLIPVisionConfig(tower_config=tower_config(model_type), **changes)).eval()


def phenolip(text: str = "bert", vision: str = "vit", **changes) -> PhenoLIPModel:
    torch.manual_seed(0)
    config = PhenoLIPConfig(
        text_config={"tower_config": tower_config(text)},
        vision_config={"tower_config": tower_config(vision)},
        projection_dim=16,
        **changes,
    )
    return PhenoLIPModel(config).eval()


def texts(lengths=(9, 4, 7, 2, 12)) -> dict[str, torch.Tensor]:
    """Right-padded rows that begin with 2 and end with 3; padding is 1."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.ones(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(input_ids, lengths, strict=True):
        row[:length] = torch.randint(5, 64, (length,), generator=generator)
        row[0], row[length - 1] = 2, 3
    return {"input_ids": input_ids, "attention_mask": (input_ids != 1).long()}


def images(num_images: int = 5, size: int = 32) -> torch.Tensor:
    return torch.randn(num_images, 3, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("text", "vision"), [(text, "efficientnet_lite") for text in TEXT_TOWERS])
def test_text_towers_build_save_and_reload(text, vision, tmp_path):
    check_reload(phenolip(text, vision), tmp_path)


@pytest.mark.parametrize(("text", "vision"), [("bert", vision) for vision in VISION_TOWERS])
def test_vision_towers_build_save_and_reload(text, vision, tmp_path):
    check_reload(phenolip(text, vision), tmp_path)


def check_reload(model: PhenoLIPModel, folder) -> None:
    model.save_pretrained(folder)
    again = PhenoLIPModel.from_pretrained(folder).eval()
    inputs = {**texts(), "pixel_values": images()}
    one, two = model(**inputs, return_loss=True), again(**inputs, return_loss=True)
    assert one.keys() == two.keys()
    for name in ("loss", "logits_per_image", "logits_per_text", "image_embeds", "text_embeds"):
        torch.testing.assert_close(one[name], two[name], atol=0, rtol=0)
    assert one.logits_per_image.shape == one.logits_per_text.shape == (5, 5)


@pytest.mark.parametrize(("tower", "pooling"), EVERY_TEXT_POOLING)
def test_every_text_pooling_reaches_every_weight(tower, pooling):
    model = text_model(tower, pooling=pooling)
    output = model(**texts())
    assert output.text_embeds.shape == (5, 16)
    assert output.pooler_output.shape == (5, model.config.pooled_size)
    output.text_embeds.square().mean(dim=0)[0].backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(("tower", "pooling"), EVERY_VISION_POOLING)
def test_every_vision_pooling_reaches_every_weight(tower, pooling):
    model = vision_model(tower, pooling=pooling)
    output = model(images())
    assert output.image_embeds.shape == (5, 16)
    assert output.pooler_output.shape == (5, model.config.pooled_size)
    output.image_embeds.square().mean(dim=0)[0].backward()
    unused = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert [name for name in unused if not name.endswith("mask_token")] == []


@pytest.mark.parametrize("tower", TEXT_TOWERS)
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 64])
def test_chunks_equal_the_plain_path(tower, chunk_size):
    model = text_model(tower)
    inputs = texts()
    plain, chunked = model(**inputs), model(**inputs, chunk_size=chunk_size)
    torch.testing.assert_close(chunked.text_embeds, plain.text_embeds, atol=1e-6, rtol=0)
    torch.testing.assert_close(chunked.pooler_output, plain.pooler_output, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", TEXT_POOLINGS["bert"])
def test_chunks_have_the_gradients_of_the_plain_path(pooling):
    plain = text_model(pooling=pooling)
    chunked = copy.deepcopy(plain)
    weight = torch.randn(5, 16)
    (plain(**texts()).text_embeds * weight).sum().backward()
    (chunked(**texts(), chunk_size=2).text_embeds * weight).sum().backward()
    for (name, one), two in zip(plain.named_parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_chunks_compute_no_padding():
    model = text_model()
    widths = []
    model.tower.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    model(**texts(), chunk_size=2)
    assert widths == [(2, 4), (2, 9), (1, 12)]


def test_chunks_refuse_left_padding_and_no_rows():
    model, inputs = text_model(), texts()
    with pytest.raises(ValueError, match="padding_side='right'"):
        model(inputs["input_ids"], inputs["attention_mask"].flip(1), chunk_size=2)
    with pytest.raises(ValueError, match="`chunk_size` must be at least 1, got 0"):
        model(**inputs, chunk_size=0)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "eos"])
def test_pooling_takes_what_its_name_says(pooling):
    model, inputs = text_model(pooling=pooling), texts()
    output = model(**inputs)
    for row, length in enumerate((9, 4, 7, 2, 12)):
        tokens = output.last_hidden_state[row, :length]
        expected = {"mean": tokens.mean(0), "max": tokens.amax(0), "cls": tokens[0], "eos": tokens[-1]}[pooling]
        torch.testing.assert_close(output.pooler_output[row], expected, atol=1e-6, rtol=1e-5)


def test_padding_changes_nothing():
    model, inputs = text_model(), texts()
    alone = model(inputs["input_ids"][1:2, :4]).text_embeds
    torch.testing.assert_close(model(**inputs).text_embeds[1:2], alone, atol=1e-6, rtol=0)


def test_project_embeds_cached_features():
    for model, inputs, name in ((text_model(), texts(), "text_embeds"), (vision_model(), None, "image_embeds")):
        output = model(**inputs) if inputs else model(images())
        torch.testing.assert_close(model.project(output.pooler_output), output[name], atol=0, rtol=0)


@pytest.mark.parametrize("projection", ["none", "linear", "mlp", "residual"])
def test_embeds_have_unit_norm(projection):
    model = text_model(projection=projection, projection_dim=None)
    embeds = model(**texts()).text_embeds
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(5))
    if projection == "none":
        pooled = model(**texts()).pooler_output
        torch.testing.assert_close(embeds, pooled / pooled.norm(dim=-1, keepdim=True))


def test_residual_projection_begins_as_the_linear_one(tmp_path):
    model = text_model(projection="residual", projection_init="identity", projection_dim=32)
    pooled = torch.randn(5, 32)
    assert torch.equal(model.projection(pooled), pooled)
    layers = model.projection.layers
    layers.correction.weight.data.normal_()
    hidden = torch.nn.functional.layer_norm(pooled, (32,)) @ layers.expand.weight.T
    expected = pooled + torch.nn.functional.gelu(hidden) @ layers.correction.weight.T
    torch.testing.assert_close(model.projection(pooled), expected, rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path)
    assert torch.equal(PhenoLIPTextModel.from_pretrained(tmp_path).projection(pooled), model.projection(pooled))


def test_a_linear_folder_opens_with_a_residual_projection_and_sound_new_weights(tmp_path):
    text_model(projection_dim=24).save_pretrained(tmp_path)
    model = PhenoLIPTextModel.from_pretrained(tmp_path, projection="residual")
    layers = model.projection.layers  # the linear weights have another name there, and are new too
    assert torch.equal(layers.norm.weight, torch.ones(32)) and torch.equal(layers.norm.bias, torch.zeros(32))
    assert not layers.correction.weight.any() and layers.linear.weight.isfinite().all()


def test_projection_dropout_acts_in_training_only():
    model = text_model(projection_dropout=0.5)
    pooled = torch.ones(2, 32)
    assert torch.equal(model.eval().project(pooled), model.project(pooled))
    torch.manual_seed(0)
    assert not torch.allclose(model.train().project(pooled), model.project(pooled))


@pytest.mark.parametrize("projection_dim", [16, 32, 48])
def test_identity_projection_begins_as_the_tower(projection_dim, tmp_path):
    model = text_model(projection_init="identity", projection_dim=projection_dim)
    assert torch.equal(model.projection.layers.weight, torch.eye(projection_dim, 32))
    model.projection.layers.weight.data.normal_()
    model.save_pretrained(tmp_path)
    again = PhenoLIPTextModel.from_pretrained(tmp_path)
    assert torch.equal(again.projection.layers.weight, model.projection.layers.weight)


def test_one_side_alone_gives_its_embeddings():
    model = phenolip()
    whole = model(**texts(), pixel_values=images())
    seen, read = model(pixel_values=images()), model(**texts())
    assert torch.equal(seen[0], whole.image_embeds) and torch.equal(read[0], whole.text_embeds)
    assert seen.logits_per_image is None and read.logits_per_image is None
    with pytest.raises(ValueError, match="`input_ids` or `pixel_values` must be given"):
        model()
    with pytest.raises(ValueError, match="`return_loss` needs both"):
        model(pixel_values=images(), return_loss=True)


def test_loss_is_the_mean_of_both_directions():
    model = phenolip()
    output = model(**texts(), pixel_values=images(), return_loss=True)
    logits = math.exp(model.logit_scale.item()) * output.image_embeds @ output.text_embeds.T
    torch.testing.assert_close(output.logits_per_image, logits)
    rows, columns = logits.log_softmax(1).diag(), logits.log_softmax(0).diag()
    torch.testing.assert_close(output.loss, -(rows.mean() + columns.mean()) / 2)
    assert model(**texts(), pixel_values=images(3)).loss is None
    with pytest.raises(ValueError, match="got 3 images and 5 texts"):
        model(**texts(), pixel_values=images(3), return_loss=True)


def test_feature_methods_agree_with_forward():
    model, inputs = phenolip(), texts()
    output = model(**inputs, pixel_values=images(), chunk_size=2)
    torch.testing.assert_close(model.get_image_features(images()), output.image_embeds, atol=0, rtol=0)
    torch.testing.assert_close(model.get_text_features(**inputs), output.text_embeds, atol=1e-6, rtol=0)
    assert isinstance(output.to_tuple()[-1], tuple)


def test_twenty_steps_lower_the_loss():
    model = phenolip(vision="efficientnet_lite").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = model(**texts(), pixel_values=images(), return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_logit_scale_is_clamped():
    model = phenolip(max_logit_scale=50.0)
    assert math.isclose(model.logit_scale.item(), math.log(1 / 0.07), rel_tol=1e-6)
    model.logit_scale.data.fill_(10.0)
    model.clamp_logit_scale()
    assert math.isclose(model.logit_scale.exp().item(), 50.0, rel_tol=1e-5)


@pytest.mark.parametrize("vision", ["vit", "efficientnet_lite"])
def test_autocast_keeps_embeds_and_logits_in_float32(vision):
    model = phenolip(vision=vision)
    plain = model(**texts(), pixel_values=images())
    with torch.autocast("cpu", torch.bfloat16):
        half = model(**texts(), pixel_values=images(), return_loss=True, chunk_size=2)
    assert half.text_embeds.dtype == half.image_embeds.dtype == half.logits_per_image.dtype == torch.float32
    torch.testing.assert_close(half.image_embeds.norm(dim=-1), torch.ones(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(half.logits_per_image, half.logits_per_text.T.contiguous(), atol=0, rtol=0)
    torch.testing.assert_close(half.image_embeds, plain.image_embeds, atol=0.03, rtol=0)
    half.loss.backward()


def test_bfloat16_weights_work():
    model = phenolip(vision="efficientnet_lite").to(torch.bfloat16)
    output = model(**texts(), pixel_values=images().bfloat16())
    assert output.image_embeds.dtype == torch.float32
    pooled = output.text_model_output.pooler_output.float()  # as a cache on disk would hold it
    torch.testing.assert_close(model.text_model.project(pooled), output.text_embeds)


def test_sdpa_by_default_and_eager_on_request(tmp_path):
    model = phenolip()
    assert model.text_model.tower.config._attn_implementation == "sdpa"
    assert model.vision_model.tower.config._attn_implementation == "sdpa"
    model.save_pretrained(tmp_path)
    eager = PhenoLIPModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert eager.text_model.tower.config._attn_implementation == "eager"
    inputs = {**texts(), "pixel_values": images()}
    output = eager(**inputs, output_attentions=True)
    assert output.text_model_output.attentions[0].shape == (5, 2, 12, 12)
    torch.testing.assert_close(output.logits_per_image, model(**inputs).logits_per_image, atol=1e-4, rtol=0)


@pytest.mark.parametrize("vision", ["vit", "efficientnet_lite"])
def test_gradient_checkpointing_gives_the_same_gradients(vision):
    plain = phenolip(vision=vision)
    for module in plain.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    plain.train()
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    saving = copy.deepcopy(plain)
    saving.activation_checkpointing_enable()
    for model in (plain, saving):
        model(**texts(), pixel_values=images(), return_loss=True).loss.backward()
    for (name, one), two in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two[1].grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("tower", VISION_TOWERS)
@pytest.mark.parametrize("projection", ["linear", "mlp", "residual"])
def test_parts_have_towers_and_projections_of_their_own(tower, projection, tmp_path):
    parts = {"num_parts": 2, "projection": projection, "projection_dim": 16}
    torch.manual_seed(0)
    config = PhenoLIPConfig(
        text_config={"tower_config": tower_config("bert"), **parts},
        vision_config={"tower_config": tower_config(tower), **parts},
    )
    model = PhenoLIPModel(config).eval()
    check_reload(model, tmp_path)
    output = model(**texts(), pixel_values=images(), return_loss=True)
    for embeds in (output.text_embeds, output.image_embeds):
        torch.testing.assert_close(embeds.unflatten(1, (2, 8)).norm(dim=-1), torch.full((5, 2), 0.5**0.5))
    output.loss.backward()
    unused = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert [name for name in unused if not name.endswith("mask_token")] == []


@pytest.mark.parametrize("tower", VISION_TOWERS)
def test_other_image_sizes_are_read(tower):
    assert vision_model(tower)(images(2, 48)).image_embeds.shape == (2, 16)


def test_a_side_loads_from_the_whole(tmp_path):
    model = phenolip(vision="efficientnet_lite")
    model.save_pretrained(tmp_path)
    text, vision = PhenoLIPTextModel.from_pretrained(tmp_path), PhenoLIPVisionModel.from_pretrained(tmp_path)
    torch.testing.assert_close(text.eval()(**texts()).text_embeds, model.get_text_features(**texts()))
    torch.testing.assert_close(vision.eval()(images()).image_embeds, model.get_image_features(images()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_dim": "512"}, "projection_dim"),
        ({"logit_scale_init_value": "2.6"}, "logit_scale_init_value"),
        ({"max_logit_scale": 0}, "`max_logit_scale` must be above 0, got 0"),
        ({"text_config": 3}, "text_config"),
        ({"text_config": {"pooling": "average"}}, "average"),
        ({"text_config": {"projection": 1}}, "projection"),
        ({"text_config": {"projection_dim": 0}}, "`projection_dim` must be at least 1, got 0"),
        ({"text_config": {"projection": "none"}, "projection_dim": 99}, "must be 768"),
        ({"text_config": {"projection_init": "identity", "projection": "mlp"}}, "needs `projection` 'linear' or"),
        ({"vision_config": {"projection_dropout": 1.0}}, "`projection_dropout` must be at least 0 and below 1, got 1"),
        ({"text_config": {"tower_config": {"model_type": "gpt2"}}}, "must be one of bert, .*, got 'gpt2'"),
        ({"text_config": {"tower_config": {"hidden_size": 8}}}, "model_type"),
        ({"vision_config": {"tower_config": {"model_type": "vit", "hidden_size": "8"}}}, "hidden_size"),
        ({"vision_config": {"tower_config": {"model_type": "resnet"}, "pooling": "cls"}}, "of a resnet tower must"),
        ({"text_config": {"projection_dim": 8}, "vision_config": {"projection_dim": 9}}, "must equal"),
        ({"text_config": {"num_parts": 0}}, "`num_parts` must be at least 1 and divide .* 512, got 0"),
        ({"vision_config": {"num_parts": 3}}, "`num_parts` must be at least 1 and divide .* 512, got 3"),
        (
            {"text_config": {"num_parts": 2, "projection": "none"}, "projection_dim": 768},
            "`num_parts` must be 1 where",
        ),
        ({"text_config": {"num_parts": 2}}, "must equal `vision_config.num_parts`, which is 1, got 2"),
    ],
)
def test_a_wrong_setting_fails_at_construction(settings, message):
    with pytest.raises(Exception, match=message):
        PhenoLIPConfig(**settings)


def test_the_default_configuration_is_that_of_base():
    config = PhenoLIPConfig()
    assert (config.text_config.tower_config.model_type, config.vision_config.tower_config.model_type) == (
        "bert",
        "vit",
    )
    assert config.projection_dim == config.text_config.projection_dim == config.vision_config.projection_dim == 512
    assert PhenoLIPConfig(text_config={"projection_dim": 64}).vision_config.projection_dim == 64
    assert PhenoLIPConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
