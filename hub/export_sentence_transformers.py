"""A text model as a folder that sentence-transformers loads: tower, pooling, projection, unit norm."""

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.convert import new_folder
from phenolip.hub.convert_check import TEXTS, TOLERANCE
from phenolip.inference.encoder import Encoder
from phenolip.provenance import write_json

TOWERS = ("bert", "roberta", "modernbert")  # whose tokens sentence-transformers takes from AutoModel
_POOLING_MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "eos": "pooling_mode_lasttoken",
    "pooler": "pooling_mode_cls_token",  # and the tower's own layer after it
}


class _Dense(NamedTuple):
    """One layer after the pooling, and what follows it."""

    layer: nn.Linear
    activation: str


def export_sentence_transformers(model: str | Path, output: str | Path) -> float | None:
    """Writes the folder; gives the greatest difference of an embedding, or None where the library is not installed.

    Args:
        model: Folder or Hub id of a knowledge encoder, or of a whole model, whose text side is taken.
        output: Folder to make; it must not hold anything.

    Raises:
        ConfigurationError: The tower or projection is none that sentence-transformers has.
        DataError: The library gives other embeddings.
    """
    encoder = Encoder.from_pretrained(model, "cpu", dtype=torch.float32)
    text_model = getattr(encoder.model, "text_model", encoder.model)
    config = text_model.config
    if config.tower_config.model_type not in TOWERS:
        raise ConfigurationError(
            f"`model` {model} must have a text tower of {', '.join(TOWERS)}, got {config.tower_config.model_type}."
        )
    if config.num_parts > 1:
        raise ConfigurationError(
            f"`model` {model} must have one part, got {config.num_parts}: sentence-transformers has no layer for more."
        )
    layers = [*_pooler_layers(text_model), *_projection_layers(text_model.projection.layers, config.projection)]
    with new_folder(output) as folder:
        text_model.tower.save_pretrained(folder)
        _write_tokenizer(folder, encoder.tokenizer)
        lengths = {"max_seq_length": encoder.max_length, "do_lower_case": False}
        write_json(folder / "sentence_bert_config.json", lengths)
        write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
        modules = ["Transformer", "Pooling", *["Dense"] * len(layers), "Normalize"]
        write_json(folder / "modules.json", [_module(number, name) for number, name in enumerate(modules)])
        _write_pooling(folder, config.pooling, config.tower_config.hidden_size)
        for number, dense in enumerate(layers, start=2):
            _write_dense(folder / f"{number}_Dense", dense)
        return _compare(folder, encoder)


def _write_tokenizer(folder: Path, tokenizer: Any) -> None:
    """The tokenizer without word of our processor, whose code sentence-transformers would ask to run."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {key: value for key, value in settings.items() if key not in ("auto_map", "processor_class")})
    for code in folder.glob("*.py"):
        code.unlink()


def _module(number: int, name: str) -> dict[str, Any]:
    path = "" if name == "Transformer" else f"{number}_{name}"
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}


def _write_pooling(folder: Path, pooling: str, width: int) -> None:
    modes = {mode: mode == _POOLING_MODES[pooling] for mode in dict.fromkeys(_POOLING_MODES.values())}
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})


def _write_dense(folder: Path, dense: _Dense) -> None:
    layer = dense.layer
    folder.mkdir()
    write_json(
        folder / "config.json",
        {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": layer.bias is not None,
            "activation_function": dense.activation,
        },
    )
    weights = {f"linear.{name}": value.detach().contiguous() for name, value in layer.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _pooler_layers(text_model: nn.Module) -> list[_Dense]:
    if text_model.config.pooling != "pooler":
        return []
    return [_Dense(text_model.tower.pooler.dense, "torch.nn.modules.activation.Tanh")]


def _projection_layers(layers: nn.Module, projection: str) -> list[_Dense]:
    linear = "torch.nn.modules.linear.Identity"
    if projection == "none":
        return []
    if projection == "linear":
        return [_Dense(layers, linear)]
    if projection == "mlp":
        return [_Dense(layers[0], "torch.nn.modules.activation.GELU"), _Dense(layers[2], linear)]
    raise ConfigurationError(
        f"`projection` must be none, linear or mlp, of which sentence-transformers has the layers, got '{projection}'."
    )


def _compare(folder: Path, encoder: Encoder) -> float | None:
    if find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer

    found = SentenceTransformer(str(folder), device="cpu").encode(list(TEXTS), show_progress_bar=False)
    difference = float(np.abs(found - encoder.encode_texts(list(TEXTS))).max())
    if not difference <= TOLERANCE or math.isnan(difference):
        raise DataError(f"sentence-transformers must give our embeddings to {TOLERANCE}, differs by {difference:.2g}.")
    return difference
