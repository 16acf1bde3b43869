"""Configuration of EfficientNet-Lite, the small vision tower of the `mini` preset."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    r"""
    Configuration of an [`EfficientNetLiteModel`]; the defaults are EfficientNet-Lite0.

    Lite means: EfficientNet without squeeze-and-excitation, ReLU6 for swish, and a stem and a head that do not grow
    with the width. One entry of `hidden_sizes`, `depths`, `kernel_sizes`, `strides` and `expand_ratios` describes one
    stage; the stride belongs to the first block of its stage.

    Args:
        num_channels (`int`, *optional*, defaults to 3):
            Channels of an image.
        image_size (`int`, *optional*, defaults to 224):
            Side in pixels of the images that the weights were trained on; any other size works.
        stem_size (`int`, *optional*, defaults to 32):
            Channels after the first convolution, which has a stride of 2.
        hidden_sizes (`list[int]`, *optional*):
            Channels that a stage puts out.
        depths (`list[int]`, *optional*):
            Blocks in a stage.
        kernel_sizes (`list[int]`, *optional*):
            Side in pixels of the depthwise kernels of a stage.
        strides (`list[int]`, *optional*):
            Stride of the first block of a stage.
        expand_ratios (`list[int]`, *optional*):
            Channels inside a block, as a multiple of those that enter it.
        hidden_size (`int`, *optional*, defaults to 1280):
            Channels of the head, which is the width of the features.
        batch_norm_eps (`float`, *optional*, defaults to 1e-3):
            Added to the variance.
        batch_norm_momentum (`float`, *optional*, defaults to 0.01):
            Share of the new batch in the running statistics.
    """

    model_type = "efficientnet_lite"
    base_config_key = "vision_config"

    num_channels: int = 3
    image_size: int = 224
    stem_size: int = 32
    hidden_sizes: list[int] | tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: list[int] | tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    kernel_sizes: list[int] | tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: list[int] | tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expand_ratios: list[int] | tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    hidden_size: int = 1280
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    def __post_init__(self, **kwargs):
        per_stage = ("hidden_sizes", "depths", "kernel_sizes", "strides", "expand_ratios")
        lengths = {name: len(getattr(self, name)) for name in per_stage}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"`{'`, `'.join(per_stage)}` must have one entry a stage each, got {lengths}.")
        super().__post_init__(**kwargs)


__all__ = ["EfficientNetLiteConfig"]
