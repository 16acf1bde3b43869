"""Does the memory of Stage 2's data path grow with the rows it has served, and how fast does it serve them?

    python benchmarks/data_path.py --data DIR --model DIR --output data_path.json

The pairs of --data stand for --rows rows by an index alone: no file, table or picture is copied. Their batches come
from the loader of `train/stage2.py` (`EpochPlan`, `ImageTextPairs`, `PairCollator`: files read, decoded, cropped and
resized to uint8, captions tokenised) in the order of one epoch. Memory is the proportional set size of the process and
its workers. --decoded keeps the pictures of --data decoded and leaves reading and decoding out.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from worker import arguments, hardware, write

from phenolip.datasets_scripts.load import load_pairs
from phenolip.images import decode_image
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.targets.identity import duplicate_groups

SETTLED_ROWS = 20_000  # after so many the memory should stay
_EVERY = 2_000


class _Decoded:
    """Rows of a table whose pictures are decoded once and kept."""

    def __init__(self, rows: Any, num_distinct: int) -> None:
        self.rows, self.num_distinct = rows, num_distinct
        self.pictures = [decode_image(image) for image in rows.select(range(num_distinct))["image"]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": self.pictures[row % self.num_distinct]}


def main() -> None:
    """Serves the rows and writes JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--data", required=True, metavar="DIR", help="image-caption pairs")
    parser.add_argument("--model", required=True, metavar="DIR", help="a Stage-2 model, for its tokenizer")
    parser.add_argument("--rows", type=int, default=524_000, metavar="N", help="rows served (524000)")
    parser.add_argument("--image_size", type=int, default=160, metavar="PX", help="side of a sample (160)")
    parser.add_argument("--batch_size", type=int, default=64, metavar="N", help="rows of a batch (64)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load (0: this one)")
    parser.add_argument("--decoded", action="store_true", help="keep decoded pictures: no reading, no JPEG")
    parser.add_argument("--minutes", type=float, default=0, metavar="M", help="stop after so long (0: all rows)")
    args = parser.parse_args()
    pairs = load_pairs(args.data, max_bad_fraction=0.05)
    rows = pairs.select(np.arange(args.rows) % len(pairs))
    loader = _loader(args, _Decoded(rows, len(pairs)) if args.decoded else rows, pairs)
    memory, began, before = [], time.perf_counter(), hardware(args.threads)
    num_rows, due = 0, 0
    for batch in loader:
        num_rows += len(batch["pixels"])
        if num_rows >= due:
            due += _EVERY
            memory.append((num_rows, round(_memory_mb(), 1)))
            sys.stderr.write(f"\r{num_rows:,} rows, {memory[-1][1]:,.0f} MB ")
        if args.minutes and time.perf_counter() - began > 60 * args.minutes:
            break
    seconds = time.perf_counter() - began
    settled = [mb for served, mb in memory if served >= SETTLED_ROWS]
    write(
        {
            "rows_planned": args.rows,
            "rows_served": num_rows,
            "distinct_rows": len(pairs),
            "image_size": args.image_size,
            "workers": args.workers,
            "decoded": args.decoded,
            "seconds": seconds,
            "rows_per_s": num_rows / seconds,
            "memory_mb_when_settled": settled[0] if settled else None,
            "memory_mb_most": max(settled, default=None),
            "memory_mb_least": min(settled, default=None),
            "memory_mb_at_the_end": memory[-1][1],
            "growth": max(settled) / settled[0] - 1 if settled else None,
            "memory_mb": memory[:: max(1, len(memory) // 64)],
            "hardware": before,
            "load_average_after": [round(value, 1) for value in os.getloadavg()],
        },
        args.output,
    )


def _loader(args: Any, rows: Any, pairs: Any) -> Any:
    """The batches of one epoch, as Stage 2 makes them; captions and groups of the distinct rows are shared."""
    index = np.arange(args.rows) % len(pairs)
    captions = list(pairs["caption"])
    groups = duplicate_groups(captions, pairs["sha256"], pairs["group_id"])
    processor = PhenoLIPProcessor.from_pretrained(args.model)
    tokenize = TextTokenizer(processor.tokenizer, processor.tokenizer.model_max_length)
    collate = PairCollator({"group_ids": groups[index]}, captions=[captions[row] for row in index], tokenize=tokenize)
    samples = ImageTextPairs(rows, image_size=args.image_size, min_crop_area=0.5, color_jitter=0.1, seed=0)
    plan = EpochPlan(args.rows, args.batch_size, seed=0)
    return plan.loader(samples, collate, first_batch=0, num_batches=plan.batches_per_epoch, num_workers=args.workers)


def _memory_mb() -> float:
    """Proportional set size of this process and its children: what they share counts once."""
    me, total = os.getpid(), 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if int(process.name) == me or parent == me:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # ended meanwhile
    return total / 1024


if __name__ == "__main__":
    main()
