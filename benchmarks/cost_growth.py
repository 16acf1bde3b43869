"""Time of an epoch of Stage 2 against the size of the data: once, four and sixteen times the same pairs.

    python benchmarks/cost_growth.py --data DIR --output FILE.json [--streaming]

Preset mini, whole image tower at 32 px, text tower frozen, batches of 32. The data is repeated rather than larger, so
that an image costs the same to decode (it is made small beforehand); every epoch goes through `train/stage2.py` from
the files on. Sizes take turns after one epoch that is not counted; medians of the rounds. Linear is a time of a row
within 10 % of that of the smallest size. --streaming reads the pairs from Parquet files row group by row group, with
one layer of the text tower trained, since a stream's texts are not stored.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from accelerate.state import AcceleratorState
from PIL import Image
from step_inputs import pick
from worker import arguments, hardware, write

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import SPLIT_PAIRS
from phenolip.datasets_scripts.tables import embedded_rows, write_parquet
from phenolip.train import stage2
from phenolip.train.loop import TrainingLoop

SIZES, BAR, SIDE = (1, 4, 16), 0.1, 48
SETTINGS = (
    "--preset mini --image_size 32 --freeze_batch_norm true --knowledge_weight 0 --name_weight 0 "
    "--batch_size 32 --num_epochs 1 --save_steps 0 --mixed_precision no --overwrite true"
)
OF_TABLE = "--freeze_text true"
OF_STREAM = "--streaming true --shuffle_buffer 1024 --text_layers 1"


class TimedLoop(TrainingLoop):
    """Keeps what an epoch took: by the clock, and by processor time, which other programs disturb less."""

    taken: dict[str, float]

    def fit(self):  # noqa: D102
        began, began_processor = time.perf_counter(), time.process_time()
        trained = super().fit()
        TimedLoop.taken = {
            "seconds": time.perf_counter() - began,
            "processor_seconds": time.process_time() - began_processor,
        }
        return trained


def repeat(rows: list[dict[str, str]], times: int, folder: Path) -> Path:
    """A folder of the rows, so many times."""
    folder.mkdir()
    with open(folder / "metadata.jsonl", "w", encoding="utf-8") as lines:
        for number, row in enumerate(rows):
            with Image.open(row["image"]) as image:
                small = image.convert("RGB").resize((SIDE, SIDE))
            for turn in range(times):
                name = f"{turn}_{number}.png"
                small.save(folder / name)
                lines.write(json.dumps({"file_name": name, "caption": row["caption"]}) + "\n")
    return folder


def shards(folder: Path) -> Path:
    """The same rows as Parquet files."""
    output = folder.with_name(f"{folder.name}_shards")
    write_parquet(embedded_rows(load_pairs(folder)), output, "train", SPLIT_PAIRS)
    return output


def epoch(data: Path, output_dir: Path, threads: int, settings: str) -> dict[str, float]:
    """One epoch over a folder."""
    AcceleratorState._reset_state(True)
    call = f"--data {data} --output_dir {output_dir} --feature_cache {output_dir.parent / 'features'}"
    stage2.main([*SETTINGS.split(), *settings.split(), *call.split(), "--num_threads", str(threads)])
    return TimedLoop.taken


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="metadata.jsonl and images")
    parser.add_argument("--pairs", type=int, default=128, metavar="N", help="pairs of the smallest size (128)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="counted epochs of each size (3)")
    parser.add_argument("--streaming", action="store_true", help="from Parquet files, without a table")
    args = parser.parse_args()
    before, rows = hardware(args.threads), pick(args.data.resolve(), args.pairs, 0)
    stage2.TrainingLoop = TimedLoop
    taken: dict[int, list[dict[str, float]]] = {times: [] for times in SIZES}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {times: repeat(rows, times, Path(scratch) / f"x{times}") for times in SIZES}
        if args.streaming:
            folders = {times: shards(folder) for times, folder in folders.items()}
        settings = OF_STREAM if args.streaming else OF_TABLE
        for number in range(args.rounds + 1):
            for times in SIZES[: None if number else 1]:
                found = epoch(folders[times], Path(scratch) / "run", args.threads, settings)
                print(f"{number}/{args.rounds} x{times}: {found['seconds']:.2f} s", file=sys.stderr, flush=True)
                if number:
                    taken[times].append(found)
    result = {"benchmark": "time of an epoch against the size of the data", "pairs": len(rows), "measured": {}}
    result["streaming"] = args.streaming
    for times, found in taken.items():
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        result["measured"][f"{times}x"] = {
            **middle,
            "range_seconds": sorted(one["seconds"] for one in found)[:: args.rounds - 1 or 1],
            "ms_a_row": 1000 * middle["seconds"] / (times * len(rows)),
            "processor_ms_a_row": 1000 * middle["processor_seconds"] / (times * len(rows)),
        }
    smallest = result["measured"][f"{SIZES[0]}x"]
    for entry in result["measured"].values():
        for key in ("ms_a_row", "processor_ms_a_row"):
            entry[f"{key}_against_1x"] = entry[key] / smallest[key]
    deviations = [abs(entry["processor_ms_a_row_against_1x"] - 1) for entry in result["measured"].values()]
    result |= {"largest_deviation": max(deviations), "bar": BAR, "hardware": before}
    write(result, args.output)


if __name__ == "__main__":
    main()
