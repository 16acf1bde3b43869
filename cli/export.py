"""`phenolip export`: a model for onnxruntime, or a knowledge encoder for sentence-transformers."""

import argparse
import sys
from pathlib import Path
from typing import Any

NUM_PHANTOMS = 96
EXAMPLES = """examples:
  phenolip export onnx runs/mini/stage2 --output runs/mini/onnx
      vision_model.onnx and text_model.onnx with processor, settings and README; checked against PyTorch
  phenolip export onnx runs/mini/stage2 --output runs/mini/onnx --int8 --data DIR
      also with weights of 8 bits: a quarter of the size; what that changes is measured on the pairs of DIR
      (without --data on phantoms, which say little of real images)
  phenolip export sentence_transformers runs/mini/stage1 --output runs/mini/sentence
      SentenceTransformer("runs/mini/sentence") then gives the model's own text embeddings

docs/deploy.md shows how to use what is written. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the two formats."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    formats = parser.add_subparsers(dest="format", metavar="onnx|sentence_transformers", required=True)
    onnx = formats.add_parser("onnx", help="both towers for onnxruntime", allow_abbrev=False)
    sentence = formats.add_parser("sentence_transformers", help="the text side", allow_abbrev=False)
    for one in (onnx, sentence):
        one.add_argument("model", metavar="DIR|ID", help="PhenoLIP folder or Hub id")
        one.add_argument("--output", required=True, type=Path, metavar="DIR", help="new or empty folder")
    onnx.add_argument("--int8", action="store_true", help="also with weights of 8 bits, and what that changes")
    onnx.add_argument("--data", metavar="DIR", help="pairs to measure it on (default: phantoms)")


def run(args: argparse.Namespace) -> int:
    """Exports, and says what was compared."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of transformers, for weights that load in a moment
    if args.format == "sentence_transformers":
        from phenolip.hub.export_sentence_transformers import export_sentence_transformers

        difference = export_sentence_transformers(args.model, args.output)
        compared = "not compared, for sentence-transformers is not installed"
        if difference is not None:
            compared = f"greatest difference of an embedding {difference:.1e}"
        sys.stdout.write(f"{args.output}: for sentence-transformers; {compared}.\n")
        return 0
    from phenolip.hub.export_onnx import export_onnx  # needs the extra `onnx`

    settings = export_onnx(args.model, args.output, int8=args.int8, pairs=_pairs(args.data) if args.int8 else None)
    difference = settings["max_difference_to_pytorch"]
    sys.stdout.write(f"{args.output}: two ONNX files; greatest difference of an embedding {difference:.1e}.\n")
    if args.int8:
        sys.stdout.write(_int8_table(settings["int8"]))
    return 0


def _pairs(data: str | None) -> tuple[list[Any], list[str]]:
    if data is None:
        from phenolip.datasets_scripts.phantoms import generate

        phantoms = list(generate(NUM_PHANTOMS, seed=1, phrasings="heldout"))
        return [phantom.image for phantom in phantoms], [phantom.caption for phantom in phantoms]
    from phenolip.datasets_scripts.load import load_pairs

    rows = load_pairs(data)
    return list(rows["image"]), list(rows["caption"])


def _int8_table(int8: dict[str, Any]) -> str:
    lines = [f"8 bits against float32, {int8['num_pairs']} pairs:"]
    for name, cosine in int8["cosine_with_float32"].items():
        lines.append(f"  cosine of {name:7s} mean {cosine['mean']:.4f}, lowest {cosine['min']:.4f}")
    for name, before in int8["float32"].items():
        lines.append(f"  {name:15s} {before:.3f} -> {int8['int8'][name]:.3f}")
    full_ms, small_ms = (int8["processor_ms_each"][kind] for kind in ("float32", "int8"))
    for name, before in full_ms.items():
        lines.append(f"  processor time of one of the {name}: {before:.1f} -> {small_ms[name]:.1f} ms")
    return "\n".join(lines) + "\n"
