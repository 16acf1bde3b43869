"""Gradient caching: a step of 4,096 pairs that encodes 64 at a time against plain steps of 64, time and memory.

    python benchmarks/gradient_cache.py --data DIR --output FILE.json       minutes on two cores
    python benchmarks/gradient_cache.py --data DIR --batch_size 512         a minute

Preset mini at 160 px as in train/configs/mini_stage2.yaml: text tower and BatchNorm statistics frozen, residual text
projection, losses against captions and names. Both sides read images of the folder, repeated where they are fewer, as
training does, the large step each of them twice. Plain steps stand before and after each large one. Of the arithmetic
alone, two forward passes and one backward against one of each, the ratio would be (1 + 1 + 2) / (1 + 2) = 1.33; what
a plain step does once, encode names and update weights, the large one does once for 64 times as many pairs.
"""

import sys
from pathlib import Path
from typing import Any

from worker import Worker, arguments, hardware, summary, write

TIME_BAR, MEMORY_BAR_MB = 1.45, 200


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="metadata.jsonl and images")
    parser.add_argument("--batch_size", type=int, default=4096, metavar="N", help="pairs of the large step (4096)")
    parser.add_argument("--micro_batch_size", type=int, default=64, metavar="N", help="pairs encoded at a time (64)")
    parser.add_argument("--steps", type=int, default=1, metavar="N", help="counted large steps (1)")
    parser.add_argument(
        "--plain_steps", type=int, default=4, metavar="N", help="plain steps on either side of one (4)"
    )
    args = parser.parse_args()
    busy, micro = hardware(args.threads), args.micro_batch_size
    common = {"data": str(args.data), "num_rows": args.batch_size, "threads": args.threads}
    sizes = {"plain": (micro, 0), "cached": (args.batch_size, micro)}
    workers = {
        side: Worker(
            sys.executable,
            "gradient_cache_sides.py",
            {**common, "batch_size": size, "micro_batch_size": part},
            args.threads,
        )
        for side, (size, part) in sizes.items()
    }
    answers, reading = _alternate(workers, args.steps, args.plain_steps)
    for worker in workers.values():
        worker.close()
    measured = {
        side: {
            **summary(found, sizes[side][0]),
            "reading_share": reading[side] / sum(answer["processor_seconds"] for answer in found),
            "start_mb": workers[side].facts["start_mb"],
        }
        for side, found in answers.items()
    }
    result = {
        "benchmark": "gradient caching, Stage 2, preset mini, 160 px",
        "batch_size": args.batch_size,
        "micro_batch_size": micro,
        "measured": measured,
        "against": _against(measured, args.batch_size / micro),
        "bars": {"time_per_sample_ratio": TIME_BAR, "more_mb": MEMORY_BAR_MB},
        "torch": workers["plain"].facts["torch"],
        "hardware": busy,
    }
    write(result, args.output)


def _alternate(
    workers: dict[str, Worker], steps: int, plain_steps: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Answers of either side, and the processor time that reading took in these."""
    answers: dict[str, list[dict[str, Any]]] = {side: [] for side in workers}

    def take(side: str) -> None:
        answers[side].append(workers[side].step())
        print(f"{side}: {answers[side][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)

    workers["plain"].step()
    workers["plain"].step("reading")
    for number in range(2 * steps + 1):
        for _ in range(1 if number % 2 else plain_steps):
            take("cached" if number % 2 else "plain")
    return answers, {side: worker.step("reading")["loss"] for side, worker in workers.items()}


def _against(measured: dict[str, dict[str, float]], times_as_many: float) -> dict[str, float]:
    """What a pair of the large step costs beside one of a plain step, and how much more memory it takes."""
    ratio = {
        key: measured["cached"][key] / measured["plain"][key] / times_as_many
        for key in ("median_s", "processor_median_s")
    }
    return {
        "time_per_sample_ratio": ratio["median_s"],
        "processor_time_per_sample_ratio": ratio["processor_median_s"],
        "more_mb": measured["cached"]["peak_mb"] - measured["plain"]["peak_mb"],
    }


if __name__ == "__main__":
    main()
