"""Does the memory of Stage 2's data path grow with the rows it has served, and how fast does it serve them?

    python benchmarks/data_path.py --data DIR --output data_path.json
    python benchmarks/data_path.py --data DIR --model DIR --streaming --output data_path_stream.json

The pairs of --data stand for --rows rows: as a table by an index, and --streaming by naming the same Parquet files
again and again; nothing is copied. Their batches come from the loader of `train/stage2.py` (files read, decoded,
cropped and resized to uint8, captions tokenised) in the order of one epoch. --decoded keeps the pictures of --data
decoded and leaves reading and decoding out.

Memory is the proportional set size of the process and its workers without the pages of files, such as those of
libraries, which count for less while other programs have them open too; `memory_mb_with_files` has them.
"""

import math
import os
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from worker import arguments, hardware, write

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.parquet_shards import ParquetShards, find_shards
from phenolip.images import decode_image
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.streaming import SHUFFLE_BUFFER, StreamedPairs, StreamPlan
from phenolip.train.streaming_inputs import StreamCollator
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.towers import build_preset

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
    parser.add_argument("--model", metavar="DIR", help="a Stage-2 model, for its tokenizer (preset mini's)")
    parser.add_argument("--rows", type=int, default=524_000, metavar="N", help="rows served (524000)")
    parser.add_argument("--image_size", type=int, default=160, metavar="PX", help="side of a sample (160)")
    parser.add_argument("--batch_size", type=int, default=64, metavar="N", help="rows of a batch (64)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load (0: this one)")
    parser.add_argument("--streaming", action="store_true", help="from Parquet files, without a table")
    parser.add_argument("--shuffle_buffer", type=int, default=SHUFFLE_BUFFER, metavar="N", help="rows of its windows")
    parser.add_argument("--decoded", action="store_true", help="keep decoded pictures: no reading, no JPEG")
    parser.add_argument("--minutes", type=float, default=0, metavar="M", help="stop after so long (0: all rows)")
    parser.add_argument("--growth", type=int, metavar="N", help="compare epochs of N, 4 N and 16 N rows instead")
    args = parser.parse_args()
    if args.growth:
        with tempfile.TemporaryDirectory() as scratch:
            first = pq.read_table(find_shards(args.data)[0]).slice(0, args.growth)
            pq.write_table(first, f"{scratch}/train.parquet", row_group_size=128)
            args.data = scratch
            write(_growth(args), args.output)
        return
    loader, num_distinct = _stream_loader(args) if args.streaming else _table_loader(args)
    memory, began, before = [], time.perf_counter(), hardware(args.threads)
    with_files = []
    num_rows, due = 0, 0
    for batch in loader:
        num_rows += len(batch["pixels"])
        if num_rows >= due:
            due += _EVERY
            own, all_pages = _memory_mb()
            memory.append((num_rows, round(own, 1)))
            with_files.append((num_rows, round(all_pages, 1)))
            sys.stderr.write(f"\r{num_rows:,} rows, {memory[-1][1]:,.0f} MB ")
        if args.minutes and time.perf_counter() - began > 60 * args.minutes:
            break
    seconds = time.perf_counter() - began
    settled = [mb for served, mb in memory if served >= SETTLED_ROWS]
    write(
        {
            "rows_planned": args.rows,
            "rows_served": num_rows,
            "distinct_rows": num_distinct,
            "streaming": args.streaming,
            "image_size": args.image_size,
            "workers": args.workers,
            "decoded": args.decoded,
            "seconds": seconds,
            "rows_per_s": num_rows / seconds,
            "processor_seconds": sum(os.times()[:2]),  # of this process alone
            "memory_mb_when_settled": settled[0] if settled else None,
            "memory_mb_most": max(settled, default=None),
            "memory_mb_least": min(settled, default=None),
            "memory_mb_at_the_end": memory[-1][1],
            "growth": max(settled) / settled[0] - 1 if settled else None,
            "memory_mb": memory[:: max(1, len(memory) // 64)],
            "memory_mb_with_files": with_files[:: max(1, len(memory) // 64)],
            "hardware": before,
            "load_average_after": [round(value, 1) for value in os.getloadavg()],
        },
        args.output,
    )


def _growth(args: Any) -> dict[str, Any]:
    """Processor time of a row in epochs of three sizes, in this process, on both paths in turn; medians of 3."""
    taken: dict[str, list[float]] = {}
    args.workers, before = 0, hardware(args.threads)
    for _ in range(3):
        for times, (path, build) in product((1, 4, 16), (("table", _table_loader), ("stream", _stream_loader))):
            args.rows = times * args.growth
            loader, _ = build(args)
            began, num_rows = time.process_time(), 0
            for batch in loader:
                num_rows += len(batch["pixels"])
            milliseconds = 1000 * (time.process_time() - began) / num_rows
            taken.setdefault(f"{path} {times}x", []).append(milliseconds)
            sys.stderr.write(f"{path} {times}x: {milliseconds:.3f} ms a row\n")
    medians = {name: statistics.median(found) for name, found in taken.items()}
    against = {name: value / medians[f"{name.split()[0]} 1x"] for name, value in medians.items()}
    return {"pairs": args.growth, "ms_a_row": taken, "median_against_1x": against, "hardware": before}


def _table_loader(args: Any) -> tuple[Any, int]:
    """The batches of one epoch, as Stage 2 makes them; captions and groups of the distinct rows are shared."""
    pairs = load_pairs(args.data, max_bad_fraction=0.05)
    index = np.arange(args.rows) % len(pairs)
    rows = pairs.select(index)
    captions = list(pairs["caption"])
    groups = duplicate_groups(captions, pairs["sha256"], pairs["group_id"])
    tokenize = _tokenize(args)
    collate = PairCollator({"group_ids": groups[index]}, captions=[captions[row] for row in index], tokenize=tokenize)
    samples = ImageTextPairs(_Decoded(rows, len(pairs)) if args.decoded else rows, **_variation(args))
    return _epoch(EpochPlan(args.rows, args.batch_size, seed=0), samples, collate, args), len(pairs)


def _stream_loader(args: Any) -> tuple[Any, int]:
    """The same from row groups."""
    files = find_shards(args.data)
    num_distinct = ParquetShards(files, args.data).num_rows
    shards = ParquetShards(files * math.ceil(args.rows / num_distinct), args.data)
    plan = StreamPlan(shards, args.batch_size, buffer=args.shuffle_buffer, seed=0)
    samples = StreamedPairs(shards.num_rows, **_variation(args))
    return _epoch(plan, samples, StreamCollator(_tokenize(args)), args), num_distinct


def _epoch(plan: EpochPlan, samples: Any, collate: Any, args: Any) -> Any:
    num_batches = min(plan.batches_per_epoch, args.rows // args.batch_size)
    return plan.loader(samples, collate, first_batch=0, num_batches=num_batches, num_workers=args.workers)


def _variation(args: Any) -> dict[str, Any]:
    return {"image_size": args.image_size, "min_crop_area": 0.5, "color_jitter": 0.1, "seed": 0}


def _tokenize(args: Any) -> TextTokenizer:
    if args.model:
        processor = PhenoLIPProcessor.from_pretrained(args.model)
    else:
        processor = build_preset("mini", random_init=True, image_size=args.image_size)[1]
    return TextTokenizer(processor.tokenizer, processor.tokenizer.model_max_length)


def _memory_mb() -> tuple[float, float]:
    """Proportional set size of this process and its children: without the pages of files, and with them."""
    me, own, everything = os.getpid(), 0, 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if int(process.name) == me or parent == me:
                lines = (process / "smaps_rollup").read_text().splitlines()
                sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
                everything += sizes["Pss"]
                own += sizes["Pss_Anon"] + sizes["Pss_Shmem"]
        except (OSError, KeyError):
            continue  # ended meanwhile
    return own / 1024, everything / 1024


if __name__ == "__main__":
    main()
