"""EfficientNet-Lite: a convolutional vision tower that two CPU cores can train, 3.4 M parameters for Lite0."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention

from .configuration_efficientnet_lite import EfficientNetLiteConfig


class SamePadConv2d(nn.Conv2d):
    """Convolution with the `same` padding of TensorFlow, which puts an odd pixel to the right and at the bottom."""

    def forward(
        self, hidden_states: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride)), with another weight and bias if given."""
        weight = self.weight if weight is None else weight
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = hidden_states.shape[-2:]
        rows = max((-(-height // stride) - 1) * stride + kernel - height, 0)
        columns = max((-(-width // stride) - 1) * stride + kernel - width, 0)
        padding = (rows // 2, columns // 2)
        if rows % 2 or columns % 2:  # a convolution pads both sides alike
            left, top = columns // 2, rows // 2
            hidden_states = F.pad(hidden_states, (left, columns - left, top, rows - top))
            padding = (0, 0)
        arguments = (weight, bias, self.stride, padding, self.dilation, self.groups)
        if self.groups > 1 and hidden_states.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # The bfloat16 gradient of a depthwise convolution is five times slower than the float32 one on a CPU.
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(hidden_states.float(), *arguments)
        return F.conv2d(hidden_states, *arguments)


class ConvNormActivation(nn.Module):
    """Convolution without bias, batch normalisation and, if wanted, ReLU6."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ):
        super().__init__()
        self.convolution = SamePadConv2d(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)
        self.normalization = nn.BatchNorm2d(
            out_channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum
        )
        self.activation = nn.ReLU6(inplace=True) if activation else nn.Identity()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        norm = self.normalization
        if norm.training:
            return self.activation(norm(self.convolution(hidden_states)))
        # With fixed statistics the normalisation is one factor and one summand a channel: folded into the
        # convolution it saves two passes over the feature map, and the gradients of all weights stay the same.
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # (C',)
        weight = self.convolution.weight * scale.view(-1, 1, 1, 1)
        return self.activation(self.convolution(hidden_states, weight, norm.bias - norm.running_mean * scale))


class EfficientNetLiteBlock(GradientCheckpointingLayer):
    """Inverted residual: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, config: EfficientNetLiteConfig, stage: int, in_channels: int, stride: int):
        super().__init__()
        out_channels = config.hidden_sizes[stage]
        width = in_channels * config.expand_ratios[stage]
        kernel_size = config.kernel_sizes[stage]
        self.expand = ConvNormActivation(config, in_channels, width) if width != in_channels else nn.Identity()
        self.depthwise = ConvNormActivation(config, width, width, kernel_size, stride, groups=width)
        self.project = ConvNormActivation(config, width, out_channels, activation=False)
        self.has_residual = stride == 1 and in_channels == out_channels

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        output = self.project(self.depthwise(self.expand(hidden_states)))
        return output + hidden_states if self.has_residual else output


class EfficientNetLiteModel(PreTrainedModel):
    """EfficientNet-Lite without its classifier.

    Images are scaled to (value - 127) / 128 with values from 0 to 255. Memory format `channels_last` is kept
    throughout and is faster on CPUs and tensor cores. With gradient checkpointing, running statistics that are not
    frozen are updated twice a step.

    Source: Tan and Le 2019 (arXiv 1905.11946); the Lite changes are those of the TensorFlow TPU repository's
    `efficientnet/lite`. Deviation: no stochastic depth.
    """

    config: EfficientNetLiteConfig
    config_class = EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["EfficientNetLiteBlock"]

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        self.stem = ConvNormActivation(config, config.num_channels, config.stem_size, kernel_size=3, stride=2)
        self.blocks = nn.ModuleList()
        channels = config.stem_size
        for stage, depth in enumerate(config.depths):
            for index in range(depth):
                stride = config.strides[stage] if index == 0 else 1
                self.blocks.append(EfficientNetLiteBlock(config, stage, channels, stride))
                channels = config.hidden_sizes[stage]
        self.head = ConvNormActivation(config, channels, config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            super()._init_weights(module)

    def get_input_embeddings(self) -> nn.Module:
        """The first convolution."""
        return self.stem.convolution

    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **kwargs
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Feature map and its mean.

        Args:
            pixel_values (`torch.Tensor` of shape `(num_images, num_channels, height, width)`):
                Images of any size.
            output_hidden_states (`bool`, *optional*):
                Return the feature map after the stem and after each block as well.

        Returns:
            `last_hidden_state` of shape `(num_images, hidden_size, ceil(height / 32), ceil(width / 32))` and
            `pooler_output`, its mean, of shape `(num_images, hidden_size)`.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden_states = self.stem(pixel_values.to(self.dtype))
        all_hidden_states = [hidden_states]
        for block in self.blocks:
            hidden_states = block(hidden_states)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
        hidden_states = self.head(hidden_states)
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=hidden_states,
            pooler_output=hidden_states.mean((2, 3)),
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
        )


__all__ = ["EfficientNetLiteModel"]
