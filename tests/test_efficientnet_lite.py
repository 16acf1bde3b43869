import copy

import pytest
import torch
import torch.nn.functional as F

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.modeling_efficientnet_lite import EfficientNetLiteModel, SamePadConv2d

TINY = {
    "stem_size": 8,
    "hidden_sizes": (8, 12),
    "depths": (1, 2),
    "kernel_sizes": (3, 5),
    "strides": (1, 2),
    "expand_ratios": (1, 2),
    "hidden_size": 24,
}


def tiny_model(**changes) -> EfficientNetLiteModel:
    """Random weights and random statistics, so that no normalisation is the identity."""
    torch.manual_seed(0)
    model = EfficientNetLiteModel(EfficientNetLiteConfig(**{**TINY, **changes}))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def test_lite0_has_the_published_number_of_parameters():
    model = EfficientNetLiteModel(EfficientNetLiteConfig())
    assert sum(weight.numel() for weight in model.parameters()) + 1280 * 1000 + 1000 == 4_652_008


@pytest.mark.parametrize("size", [7, 8, 31, 32])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_puts_the_odd_pixel_right_and_below(size, kernel_size, stride):
    convolution = SamePadConv2d(1, 1, kernel_size, stride, bias=False)
    image = torch.randn(1, 1, size, size)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel_size - size, 0)
    before = total // 2
    padded = torch.zeros(size + total, size + total)
    padded[before : before + size, before : before + size] = image[0, 0]
    expected = torch.stack(
        [
            (padded[r : r + kernel_size, c : c + kernel_size] * convolution.weight[0, 0]).sum()
            for r in range(0, out * stride, stride)
            for c in range(0, out * stride, stride)
        ]
    ).view(out, out)
    torch.testing.assert_close(convolution(image)[0, 0], expected, atol=1e-5, rtol=1e-5)


def recompute(model: EfficientNetLiteModel, hidden: torch.Tensor) -> torch.Tensor:
    """The network written down once more, from the weights alone and for even feature maps."""
    config, weights = model.config, model.state_dict()

    def layer(hidden, name, stride=1, groups=1, activation=True):
        kernel = weights[f"{name}.convolution.weight"]
        size = kernel.shape[-1]
        before = (size - stride) // 2
        after = size - stride - before
        hidden = F.conv2d(F.pad(hidden, (before, after, before, after)), kernel, stride=stride, groups=groups)
        gamma, beta, mean, variance = (
            weights[f"{name}.normalization.{key}"].view(-1, 1, 1)
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        hidden = (hidden - mean) / (variance + config.batch_norm_eps).sqrt() * gamma + beta
        return hidden.clamp(0, 6) if activation else hidden

    hidden = layer(hidden, "stem", stride=2)
    index = 0
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            name, stride, entering = f"blocks.{index}", config.strides[stage] if block == 0 else 1, hidden
            if config.expand_ratios[stage] != 1:
                hidden = layer(hidden, f"{name}.expand")
            hidden = layer(hidden, f"{name}.depthwise", stride, groups=hidden.shape[1])
            hidden = layer(hidden, f"{name}.project", activation=False)
            if stride == 1 and hidden.shape == entering.shape:
                hidden = hidden + entering
            index += 1
    return layer(hidden, "head").mean((2, 3))


def test_features_equal_an_independent_computation():
    model = tiny_model().eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images).pooler_output, recompute(model, images), atol=1e-5, rtol=1e-5)


def test_folded_normalisation_has_the_gradients_of_the_plain_one():
    folded = tiny_model(depths=(1, 1)).double().eval()
    plain = copy.deepcopy(folded)
    for module in plain.modules():  # in training mode nothing is folded; a BatchNorm in eval mode uses its statistics
        if isinstance(module, torch.nn.BatchNorm2d):
            module.forward = lambda x, m=module: F.batch_norm(
                x, m.running_mean, m.running_var, m.weight, m.bias, False, 0.0, m.eps
            )
            module.training = True
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for model in (folded, plain):
        model(images).pooler_output.square().sum().backward()
    for (name, one), two in zip(folded.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-10, rtol=1e-8, msg=name)


def test_training_mode_uses_and_updates_the_statistics_of_the_batch():
    model = tiny_model().train()
    before = model.stem.normalization.running_mean.clone()
    model(torch.randn(4, 3, 32, 32))
    assert not torch.equal(before, model.stem.normalization.running_mean)


def test_any_size_and_channels_last_and_bfloat16():
    model = tiny_model().eval()
    images = torch.randn(2, 3, 45, 33)
    plain = model(images).pooler_output
    last = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert last.last_hidden_state.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.pooler_output, plain, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images).pooler_output.float()
    assert F.cosine_similarity(half, plain).min() > 0.999


def test_hidden_states_and_checkpointing():
    model = tiny_model().eval()
    images = torch.randn(2, 3, 32, 32)
    output = model(images, output_hidden_states=True)
    assert [tuple(state.shape[1:]) for state in output.hidden_states] == [
        (8, 16, 16),
        (8, 16, 16),
        (12, 8, 8),
        (12, 8, 8),
    ]
    with pytest.raises(ValueError, match="one entry a stage"):
        EfficientNetLiteConfig(depths=(1, 2))
    with pytest.raises(Exception, match="stem_size"):
        EfficientNetLiteConfig(stem_size="32")


def test_saves_and_reloads(tmp_path):
    model = tiny_model().eval()
    model.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 32, 32)
    again = EfficientNetLiteModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(images).pooler_output, model(images).pooler_output, atol=0, rtol=0)
