"""A training step of Stage 2 on one GPU: samples/s, share of the arithmetic limit, peak memory, compile time.

    python benchmarks/gpu_step.py --batch_size 256 --output FILE.json
    python benchmarks/gpu_step.py --batch_size 32768 --micro_batch_size 512 --variants chunks --warm_steps 0 --steps 1
    python benchmarks/gpu_step.py --device cpu --layers 1 --batch_size 4 --steps 1       every line, without a GPU

ViT-B/16 and BERT-base, random weights, bfloat16 (autocast), captions of random tokens whose lengths follow the gallery
of PhenoBench (mean 68 tokens): no data and no network are needed. Each variant is measured with its warm-up apart:
captions in length-sorted chunks, the same with compiled towers, and padded to 256 as the usual stack does.
With `--micro_batch_size` the batch stays in the host's memory and gradients are cached, as in training.
Model FLOPs utilisation counts tokens without padding, forward and backward three times the forward.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import step_inputs
import torch
from accelerate import Accelerator
from stage2_objective import base_model, paper_objective
from worker import hardware, write

from phenolip.train.gradient_cache import CachedObjective, cached_backward
from phenolip.train.objective_stage2 import ImageTextObjective

PEAK_TFLOPS = 790.0  # measured product of large bfloat16 matrices on an H100
VARIANTS = ("chunks", "chunks_compiled", "padded_to_256")
# Lengths in tokens of the gallery's captions, at every tenth of their distribution.
DECILES = (3, 26, 35, 44, 52, 61, 70, 82, 98, 125, 256)


def main() -> None:
    """Measures every variant and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write besides printing it")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script (cuda)")
    parser.add_argument("--batch_size", type=int, default=256, metavar="N", help="pairs of a step (256)")
    parser.add_argument("--chunk_size", type=int, default=64, metavar="N", help="captions read together (64)")
    parser.add_argument("--layers", type=int, default=12, metavar="N", help="layers of every tower (12)")
    parser.add_argument("--micro_batch_size", type=int, default=0, metavar="N", help="pairs encoded at a time (all)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="counted steps (10)")
    parser.add_argument(
        "--warm_steps", type=int, default=2, metavar="N", help="steps after the first, not counted (2)"
    )
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be cpu where PyTorch sees no GPU, got cuda")
    device = torch.device(args.device)
    batch, lengths = _batch(args.batch_size)
    measured = {name: _measure(name, args, batch, lengths, device) for name in args.variants}
    result = {
        "benchmark": "training step on one GPU, Stage 2, bfloat16",
        "batch_size": args.batch_size,
        "micro_batch_size": args.micro_batch_size,
        "layers": args.layers,
        "mean_tokens": float(np.mean(lengths)),
        "limit_samples_per_s": PEAK_TFLOPS * 1e12 * len(lengths) / step_inputs.step_flops(lengths, args.layers, 1),
        "measured": measured,
        "torch": torch.__version__,
        "hardware": {**hardware(torch.get_num_threads()), "device": _name(device)},
    }
    write(result, args.output)


def _batch(num_rows: int) -> tuple[dict[str, torch.Tensor], list[int]]:
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(num_rows) * 10, range(11), DECILES).astype(int)
    tokens = np.where(np.arange(256) < lengths[:, None], rng.integers(1000, 30000, (num_rows, 256)), 0)
    known = rng.standard_normal((num_rows, step_inputs.EMBED_DIM)).astype(np.float32)
    batch = {
        "pixels": torch.from_numpy(rng.integers(0, 256, (num_rows, 224, 224, 3), dtype=np.uint8)).permute(0, 3, 1, 2),
        "caption_input_ids": torch.from_numpy(tokens),
        "caption_attention_mask": torch.from_numpy((tokens != 0).astype(np.int64)),
        "group_ids": torch.arange(num_rows)[:, None],
        "knowledge_embeds": torch.nn.functional.normalize(torch.from_numpy(known), dim=-1),
    }
    return batch, lengths.tolist()


def _on(device: torch.device, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _measure(
    name: str, args: argparse.Namespace, batch: dict[str, torch.Tensor], lengths: list[int], device: torch.device
) -> dict[str, Any]:
    torch.manual_seed(0)
    model, _ = base_model(args.layers, device)
    chunk_size = args.chunk_size
    if name == "padded_to_256":
        batch = {**batch, "caption_attention_mask": torch.ones_like(batch["caption_attention_mask"])}
        chunk_size = len(lengths)
    if name == "chunks_compiled":
        backend = "inductor" if device.type == "cuda" else "eager"  # no compiler to wait for where this is tried out
        model.vision_model.tower.compile(backend=backend)
        model.text_model.tower.compile(dynamic=True, backend=backend)
    objective = paper_objective(model, chunk_size).to(device)
    if args.micro_batch_size:
        step = _cached_step(objective, batch, args.micro_batch_size, device)
    else:
        step = _step(objective, _on(device, batch), device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    first = _timed(step, device)
    warm = [_timed(step, device) for _ in range(args.warm_steps)]
    seconds = sorted(_timed(step, device) for _ in range(args.steps))
    middle = statistics.median(seconds)
    flops = step_inputs.step_flops(lengths, args.layers, 1)
    print(f"{name}: {len(lengths) / middle:.1f} samples/s", file=sys.stderr, flush=True)
    return {
        "median_s": middle,
        "least_s": seconds[0],
        "most_s": seconds[-1],
        "samples_per_s": len(lengths) / middle,
        "model_flops_utilisation": flops / middle / (PEAK_TFLOPS * 1e12) if on_gpu else None,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        "first_step_s": first,
        "start_and_compile_s": first + sum(warm) - (1 + len(warm)) * middle,
    }


def _step(objective: ImageTextObjective, batch: dict[str, torch.Tensor], device: torch.device) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(objective.parameters(), **step_inputs.OPTIMIZER)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = objective(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _cached_step(
    objective: ImageTextObjective, batch: dict[str, torch.Tensor], micro: int, device: torch.device
) -> Callable[[], None]:
    accelerator = Accelerator(mixed_precision="bf16", cpu=device.type == "cpu")
    optimizer = torch.optim.AdamW(objective.parameters(), **step_inputs.OPTIMIZER)
    wrapped = accelerator.prepare(CachedObjective(objective))
    places = range(0, len(batch["pixels"]), micro)

    def step() -> None:
        parts = (
            _on(device, {name: tensor[start : start + micro] for name, tensor in batch.items()})
            for start in (*places, *places)
        )
        cached_backward(wrapped, parts, len(places), accelerator, synchronise=True, divisor=1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _timed(step: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
