"""Both towers as ONNX files for onnxruntime, checked against PyTorch; and their 8-bit form, with what it costs."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.convert import new_folder
from phenolip.hub.convert_check import TEXTS, probe_images
from phenolip.hub.onnx_encoder import SETTINGS, OnnxEncoder
from phenolip.inference.adapters.image_settings import describe_image_processor
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import package_versions, write_json
from phenolip.whole_files import whole_file

TOLERANCE = 1e-4  # of a number of an embedding
MAX_EMBEDDED_BYTES = 1_500_000_000  # an ONNX file holds 2 GB; beyond this, weights lie in a file beside it
README = """# {name} for onnxruntime
`vision_model.onnx`: `pixel_values` (batch, 3, {height}, {width}) float32 -> `image_embeds` (batch, {width_embeds})
`text_model.onnx`: `input_ids`, `attention_mask` (batch, length) int64 -> `text_embeds` (batch, {width_embeds})

Batch and length are free, up to {max_length} tokens. Both outputs have unit norm: their products are cosines, and
`{scale:.6g} x cosine` are the logits. Texts about phenotypes are put into the template `{template}`. How pixels and
tokens are made is in `onnx.json`, and done by `AutoProcessor.from_pretrained(FOLDER, trust_remote_code=True)`.
Against PyTorch {version}: greatest difference {difference:.1e}.
{int8}
For research, not for diagnosis.
"""


class _Texts(nn.Module):
    def __init__(self, model: PhenoLIPModel) -> None:
        super().__init__()
        self.model = model.text_model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, attention_mask).text_embeds


class _Images(nn.Module):
    def __init__(self, model: PhenoLIPModel) -> None:
        super().__init__()
        self.model = model.vision_model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).image_embeds


def export_onnx(
    model: str | Path, output: str | Path, *, int8: bool = False, pairs: tuple[list[Any], list[str]] | None = None
) -> dict[str, Any]:
    """Writes a folder of two ONNX files with processor, settings and README; gives its settings.

    Args:
        model: PhenoLIP folder or Hub id.
        output: Folder to make; it must not hold anything.
        int8: Also write both towers with weights of 8 bits, and measure what that changes.
        pairs: Images and their captions to measure it on.

    Raises:
        ConfigurationError: The model has no image tower.
        DataError: onnxruntime gives other embeddings than PyTorch.
    """
    encoder = Encoder.from_pretrained(model, "cpu", dtype=torch.float32)
    if int8 and pairs is None:
        raise ConfigurationError("`pairs` must be given with `int8`, got none.")
    if not encoder.has_images:
        raise ConfigurationError(
            f"`model` {model} must have an image tower; `phenolip export sentence_transformers` takes a text model."
        )
    with new_folder(output) as folder:
        _write_towers(encoder, folder)
        template = encoder.prompt_template
        PhenoLIPProcessor(encoder.image_processor, encoder.tokenizer, template).save_pretrained(folder)
        settings = _settings(encoder, Path(model).resolve().name)
        write_json(folder / SETTINGS, settings)
        settings["max_difference_to_pytorch"] = _compare(encoder, OnnxEncoder(folder))
        if int8:
            _quantise(folder)
            settings["int8"] = measure_int8(OnnxEncoder(folder), OnnxEncoder(folder, "_int8"), pairs)
            settings["int8"]["bytes"] = {file.name: file.stat().st_size for file in sorted(folder.glob("*_model*"))}
        write_json(folder / SETTINGS, settings)
        _write_readme(folder, settings)
    return settings


def measure_int8(full: OnnxEncoder, small: OnnxEncoder, pairs: tuple[list[Any], list[str]]) -> dict[str, Any]:
    """What 8 bits cost: cosine with the float32 embedding, and retrieval of the own caption and image.

    Args:
        full, small: The two models.
        pairs: N images and their captions.
    """
    images, texts = pairs
    (before, full_ms), (after, small_ms) = (_timed_embeds(model, images, texts) for model in (full, small))
    same = {
        name: (old * new).sum(axis=1) / np.linalg.norm(new, axis=1)
        for name, old, new in zip(("images", "texts"), before, after, strict=True)
    }
    cutoffs = sorted({1, min(10, len(texts))})
    hits = {
        name: {
            f"{direction}_hit_at_{cutoff}": _hit(scores, cutoff)
            for direction, scores in (("i2t", a @ b.T), ("t2i", b @ a.T))
            for cutoff in cutoffs
        }
        for name, (a, b) in (("float32", before), ("int8", after))
    }
    cosine = {name: {"mean": float(row.mean()), "min": float(row.min())} for name, row in same.items()}
    times = {"processor_ms_each": {"float32": full_ms, "int8": small_ms}}
    return {"num_pairs": len(texts), "cosine_with_float32": cosine, **hits, **times}


def _timed_embeds(
    model: OnnxEncoder, images: list[Any], texts: list[str]
) -> tuple[tuple[NDArray, NDArray], dict[str, float]]:
    """Embeddings of images and texts, and processor time of one in ms, reading of pixels and tokens included."""
    model.encode_images(images[:1]), model.encode_texts(texts[:1])  # what is set up on first use
    began = time.process_time()
    image_embeds = model.encode_images(images)
    middle = time.process_time()
    text_embeds = model.encode_texts(texts)
    each = 1000 / len(texts)
    spent = {"images": (middle - began) * each, "texts": (time.process_time() - middle) * each}
    return (image_embeds, text_embeds), spent


def _hit(scores: NDArray, cutoff: int) -> float:
    """Share of rows whose own column is among the best; equal scores stand before it."""
    own = np.diag(scores)[:, None]
    rank = (scores >= own).sum(axis=1)
    return float((rank <= cutoff).mean())


def _write_towers(encoder: Encoder, folder: Path) -> None:
    model = encoder.model.eval()
    model.set_attn_implementation("eager")
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1, max=encoder.max_length)
    # Never 1, which the exporter would take for a constant.
    words = encoder.tokenizer(list(TEXTS[:3]), padding=True, truncation=True, return_tensors="pt")
    texts = tuple(words[name] for name in ("input_ids", "attention_mask"))
    pixels = encoder.image_processor(images=probe_images()[:2], return_tensors="pt")["pixel_values"]
    _export(_Texts(model), texts, folder / "text_model.onnx", ["input_ids", "attention_mask"], "text_embeds",
            ({0: batch, 1: length}, {0: batch, 1: length}))  # fmt: skip
    _export(_Images(model), (pixels,), folder / "vision_model.onnx", ["pixel_values"], "image_embeds", ({0: batch},))


def _export(
    module: nn.Module, inputs: tuple, file: Path, names: list[str], output: str, dynamic: tuple[dict, ...]
) -> None:
    size = sum(value.numel() * value.element_size() for value in module.parameters())
    with torch.inference_mode(), _quiet():
        torch.onnx.export(
            module,
            inputs,
            file,
            input_names=names,
            output_names=[output],
            dynamic_shapes=dynamic,
            dynamo=True,
            external_data=size > MAX_EMBEDDED_BYTES,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of opset versions and of itself; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _compare(encoder: Encoder, exported: OnnxEncoder) -> float:
    """Greatest difference of a number, over batches and lengths other than those of the export."""
    texts, pictures = [*TEXTS, "a", *(f"{text} {text}" for text in TEXTS)], probe_images()
    differences = []
    for size in (1, 4):
        for found, known in (
            (exported.encode_images(pictures, size), encoder.encode_images(pictures, size)),
            (exported.encode_texts(texts, size), encoder.encode_texts(texts, size)),
        ):
            differences.append(float(np.abs(found - known).max()))
    if not max(differences) <= TOLERANCE:
        raise DataError(f"onnxruntime must give PyTorch's embeddings to {TOLERANCE}, got {max(differences):.2g}.")
    return max(differences)


def _settings(encoder: Encoder, name: str) -> dict[str, Any]:
    return {
        "model": name,
        "vision": {"file": "vision_model.onnx", "inputs": ["pixel_values"], "output": "image_embeds"},
        "text": {"file": "text_model.onnx", "inputs": ["input_ids", "attention_mask"], "output": "text_embeds"},
        "projection_dim": encoder.model.config.projection_dim,
        "logit_scale": encoder.logit_scale,
        "prompt_template": encoder.prompt_template,
        "max_length": encoder.max_length,
        **describe_image_processor(encoder.image_processor),
        "packages": package_versions("onnx", "onnxruntime"),
    }


def _quantise(folder: Path) -> None:
    """Weights of matrix products to 8 bits, one scale a column; their inputs are quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for tower in ("vision", "text"):
        quantize_dynamic(
            folder / f"{tower}_model.onnx",
            folder / f"{tower}_model_int8.onnx",
            op_types_to_quantize=["MatMul", "Gemm"],  # a convolution of integers is slower than one of floats
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": 1},
        )


def _write_readme(folder: Path, settings: dict[str, Any]) -> None:
    height, width = settings["image_size"] or ("height", "width")
    int8 = settings.get("int8")
    line = ""
    if int8:
        means = {name: value["mean"] for name, value in int8["cosine_with_float32"].items()}
        line = (
            f"`*_int8.onnx`: weights of 8 bits; cosine with float32 {means['images']:.4f} for images and "
            f"{means['texts']:.4f} for texts, means over {int8['num_pairs']} pairs; retrieval in `onnx.json`.\n"
        )
    with whole_file(folder / "README.md", "w") as file:
        file.write(
            README.format(
                name=settings["model"],
                height=height,
                width=width,
                width_embeds=settings["projection_dim"],
                max_length=settings["max_length"],
                scale=settings["logit_scale"],
                template=settings["prompt_template"],
                version=settings["packages"]["torch"],
                difference=settings["max_difference_to_pytorch"],
                int8=line,
            )
        )
