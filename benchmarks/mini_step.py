"""A step of preset mini against a plain PyTorch loop of the same towers, image size, captions and cached teacher.

    python benchmarks/mini_step.py --data DIR --output FILE.json

Both train EfficientNet-Lite0 and MiniLM whole, weights random, 64 pairs of 160 px, with the same contrastive losses
against captions and the teacher's embeddings, BatchNorm statistics frozen. The plain loop keeps NCHW tensors, float32,
texts padded to the longest of the batch, and AdamW by default. Ours is what `train/stage2.py` does.
"""

import sys
from pathlib import Path

from step_inputs import pick
from worker import Worker, alternate, arguments, hardware, ratios, summary, write

BAR = 1.3


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="metadata.jsonl and images")
    parser.add_argument("--batch_size", type=int, default=64, metavar="N", help="pairs of a step (64)")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="counted steps of each side (5)")
    args = parser.parse_args()
    settings = {"rows": pick(args.data, args.batch_size, 0), "threads": args.threads, "chunk_size": 32}
    hardware_before = hardware(args.threads)
    workers = {
        side: Worker(sys.executable, "mini_sides.py", {**settings, "side": side}, args.threads)
        for side in ("ours", "plain")
    }
    sides = [(side, worker, "step") for side, worker in workers.items()]
    answers = alternate(sides, args.steps, report=lambda line: print(line, file=sys.stderr, flush=True))
    for worker in workers.values():
        worker.close()
    result = {
        "benchmark": "training step, preset mini, 160 px",
        "batch_size": len(settings["rows"]),
        "measured": {side: summary(found, len(settings["rows"])) for side, found in answers.items()},
        "against": {"plain": {**ratios(answers["ours"], answers["plain"]), "bar": BAR}},
        "hardware": hardware_before,
    }
    write(result, args.output)


if __name__ == "__main__":
    main()
