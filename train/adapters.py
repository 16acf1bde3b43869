"""Low-rank adapters in the towers of a saved model: LoRA and DoRA by `peft`, as a folder that is merged or loaded.

Source: Hu et al. 2021, arXiv 2106.09685; Liu et al. 2024, arXiv 2402.09353. That projections and temperature train
whole beside them is ours: they are small, and new data moves them most.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PROJECTIONS = ("text_model.projection", "vision_model.projection")
# What the towers call the layers that Hu et al. adapt, queries and values of attention.
ATTENTION_LAYERS = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin")
_PREFIX = "base_model.model."  # of peft's names of weights


def add_adapters(
    model: PhenoLIPModel,
    base: str | Path,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: tuple[str, ...] = ("attention",),
    use_dora: bool = False,
) -> "PeftModel":
    """Puts adapters into the towers and freezes all else but the projections and what the model itself holds.

    The model is changed in place and goes on as it is, its functions included; the adapted one that is returned shares
    its weights and saves them. Before the first step it computes what the model did.

    Args:
        model: Layers whose weights are frozen get no adapter.
        base: Where the model was read from; written into the adapter's folder.
        rank: Of each correction, above 0.
        alpha: The correction counts alpha / rank.
        dropout: Share of each adapter's inputs dropped in training.
        targets: See `adapter_layers`.
        use_dora: Directions by adapters, lengths of the columns trained beside them (DoRA).

    Raises:
        ConfigurationError: No layer is a target, or peft is not installed.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=adapter_layers(model, targets),
        modules_to_save=list(PROJECTIONS),
        use_dora=use_dora,
        base_model_name_or_path=str(base),
    )
    with _without_old_names():
        adapted = peft.get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    for parameter in model.parameters(recurse=False):  # logit_scale: peft freezes a bare parameter
        parameter.requires_grad_(True)
    return adapted


def adapter_layers(model: PhenoLIPModel, targets: tuple[str, ...]) -> list[str]:
    """Names of the layers that get an adapter.

    Args:
        model: Its towers are searched; layers whose weights are frozen are passed over.
        targets: `attention`, the queries and values, or in a tower without attention its 1 x 1 convolutions; `linear`,
            every linear layer and 1 x 1 convolution; or ends of names, such as `query` or `output.dense`.

    Raises:
        ConfigurationError: A target is in no trainable layer.
    """
    layers = {name: layer for name, layer in model.named_modules() if ".tower." in name and _is_adaptable(layer)}
    chosen: dict[str, None] = {}
    for target in targets:
        if target == "linear":
            found = list(layers)
        elif target == "attention":
            found = [name for side in ("text_model.", "vision_model.") for name in _attention(layers, side)]
        else:
            found = [name for name in layers if name.endswith(f".{target}")]
        if not found:
            ends = sorted({name.rpartition(".")[2] for name in layers})
            raise ConfigurationError(
                f"`lora_targets` must be attention, linear or ends of names of trainable layers ({', '.join(ends)}), "
                f"got '{target}'."
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def save_adapter(adapted: "PeftModel", folder: str | Path) -> None:
    """Writes an adapter folder: `PeftModel.from_pretrained(base, folder)` gives the trained model, temperature too.

    peft leaves bare parameters out of the file, and reads them where they are in it.
    """
    adapted.save_pretrained(folder, safe_serialization=True)
    file = Path(folder) / ADAPTER_WEIGHTS
    own = dict(adapted.base_model.model.named_parameters(recurse=False))
    weights = load_file(file) | {_PREFIX + name: value.detach().cpu().clone() for name, value in own.items()}
    save_file(weights, file, metadata={"format": "pt"})


def merge_adapter(model: PhenoLIPModel, folder: str | Path) -> PhenoLIPModel:
    """The model with an adapter's corrections added to its weights: a plain model again, as fast as before.

    Args:
        model: The one that the adapter was trained on; it is changed.
        folder: From `save_adapter`. Weights in pickled files are not read.

    Raises:
        ConfigurationError: The folder holds no adapter, or one of another model.
    """
    peft, folder = _peft(), Path(folder)
    if not all((folder / name).is_file() for name in (ADAPTER_WEIGHTS, "adapter_config.json")):
        raise ConfigurationError(
            f"`adapter` must be a folder with adapter_config.json and {ADAPTER_WEIGHTS}: {folder}."
        )
    try:
        with _without_old_names():
            adapted = peft.PeftModel.from_pretrained(model, folder)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = (str(error).strip().splitlines() or ["no reason is given"])[0].rstrip(".")
        raise ConfigurationError(f"`adapter` {folder} does not fit the model: {reason}.") from error
    return merged(adapted)


def merged(adapted: "PeftModel") -> PhenoLIPModel:
    """The plain model of an adapted one, which is used up."""
    with torch.no_grad():
        return adapted.merge_and_unload(safe_merge=True)


def _is_adaptable(layer: nn.Module) -> bool:
    is_pointwise = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
    return (isinstance(layer, nn.Linear) or is_pointwise) and layer.weight.requires_grad


def _attention(layers: dict[str, nn.Module], side: str) -> list[str]:
    own = [name for name in layers if name.startswith(side)]
    found = [name for name in own if name.rpartition(".")[2] in ATTENTION_LAYERS]
    return found or [name for name in own if isinstance(layers[name], nn.Conv2d)]


@contextmanager
def _without_old_names() -> Iterator[None]:
    """peft asks transformers by an old name whether activations are checkpointed, of which a user need not hear."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ConfigurationError("Adapters need the package peft; run `pip install phenolip[adapt]`.") from error
    return peft
