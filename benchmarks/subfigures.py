"""How well and how fast the layout back end finds subfigures, on composites of images and layouts that it never saw.

python benchmarks/subfigures.py --data DIR --output FILE.json
python benchmarks/subfigures.py --data DIR --training_composites DIR

DIR holds phenobench_gallery/images, medpix2/images and compound/layouts_train.jsonl. Images and layouts are halved by
the SHA-256 of their names: the network that weighs separators is fitted on composites of the first half, which the
second command writes (`python -m phenolip.phenokg.subfigures.fit_separators --composites DIR/*` then fits it);
measured is on the second. Drawn figures are of the same kinds in both, with other seeds; measured are plots of one
pair of axes. F1 is micro, one to one, at an IoU of 0.75; "whole" is the share of figures that gave one box. Time is
that of one thread of the processor on decoded figures, and apart from it that of decoding them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from phenolip.eval.metrics.subfigure_boxes import count_boxes, precision_recall_f1
from phenolip.images import decode_image
from phenolip.phenokg.figures.drawn_figures import KINDS, as_published, draw_figure, write_figures
from phenolip.phenokg.figures.drawn_plots import PLOTS
from phenolip.phenokg.subfigures.layout_subfigures import find_subfigures

PAGES = ("white", "grey", "black")
_LAYOUTS = ["--layouts", "layouts.jsonl"]
_FILLED = ["--fill", "stretch", "crop"]
_ALL = ["--fill", "fit", "stretch", "crop"]
_OUTSIDE = ["--outside_share", "0.2"]
SETTINGS = {  # of what is measured
    "gap 3 to 20 px, images in their own shape": [*_LAYOUTS, *_OUTSIDE, "--gap", "3", "20"],
    "gap 3 to 20 px, images fill their cells": [
        *_LAYOUTS,
        *_OUTSIDE,
        *_FILLED,
        "--border",
        "0",
        "2",
        "--gap",
        "3",
        "20",
    ],
    "gap 1 to 2 px": [*_LAYOUTS, *_OUTSIDE, *_ALL, "--border", "0", "2", "--gap", "1", "2"],
    "no gap, images fill their cells": [*_LAYOUTS, *_FILLED, "--gap", "0", "0"],
    "no gap, images in their own shape": [*_LAYOUTS, "--gap", "0", "0"],
    "gaps of the real layouts": [*_LAYOUTS, *_OUTSIDE, *_ALL],
    "drawn rows of images, gap 0 to 20 px": [*_OUTSIDE, *_ALL, "--gap", "0", "20", "--images_per_figure", "2", "12"],
    "single images": [*_LAYOUTS, "--single_share", "1"],
    "single drawn plots and diagrams": [*_LAYOUTS, "--single_share", "1"],
    "drawn plots and diagrams, gap 3 to 20 px": [*_LAYOUTS, *_OUTSIDE, "--gap", "3", "20"],
}
_LONG_SIDES = (420, 700, 1000)
_IMAGES = ("phenobench_gallery", "medpix2")
_COMMON = [*_OUTSIDE, "--border", "0", "2", "--single_share", "0.2", "--page", *PAGES]
TRAINING = {  # of what is learned from: number at each long side, and how; plots and diagrams stay whole
    "layouts": (160, [*_LAYOUTS, *_COMMON, *_ALL]),
    "gap_0_20": (300, [*_LAYOUTS, *_COMMON, *_ALL, "--gap", "0", "20"]),
    "gap_0": (140, [*_LAYOUTS, *_COMMON, *_FILLED, "--gap", "0", "0"]),
    "gap_1_2": (120, [*_LAYOUTS, *_COMMON, *_ALL, "--gap", "1", "2"]),
    "rows": (120, [*_COMMON, *_ALL, "--gap", "0", "12", "--images_per_figure", "2", "12"]),
    "drawn": (130, [*_LAYOUTS, *_OUTSIDE, *_ALL, "--gap", "0", "20", "--single_share", "0.6", "--page", "white"]),
}
_DRAWN_PER_KIND = 8


def half(names: Sequence[str], number: int) -> list[str]:
    """The first (0) or second (1) half of the names in the order of their SHA-256."""
    ordered = sorted(names, key=lambda name: sha256(name.encode()).hexdigest())
    middle = len(ordered) // 2
    return ordered[middle:] if number else ordered[:middle]


def link_half(data: Path, folder: Path, number: int) -> None:
    """Images and layouts of one half, in a folder of their own."""
    for source in ("phenobench_gallery", "medpix2"):
        (folder / source).mkdir(parents=True)
        for name in half([path.name for path in (data / source / "images").iterdir()], number):
            (folder / source / name).symlink_to((data / source / "images" / name).resolve())
    lines = (data / "compound" / "layouts_train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    by_figure = {json.loads(line)["figure"]: line for line in reversed(lines)}
    (folder / "layouts.jsonl").write_text("".join(by_figure[name] for name in half(list(by_figure), number)))


def make_composites(
    folder: Path, output: Path, number: int, seed: int, settings: Sequence[str], images: Sequence[str] = _IMAGES
) -> None:
    """Runs the command that writes composites, in the folder of a half."""
    command = [sys.executable, "-m", "phenolip.phenokg.composites", "--images", *images]
    command += ["--output", str(output.resolve()), "--number", str(number), "--seed", str(seed), *settings]
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)


def read_composites(folder: Path) -> Iterator[tuple[Path, list[list[int]]]]:
    """Figures and their boxes."""
    for line in (folder / "boxes.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        yield folder / row["file_name"], row["boxes"]


def write_training_composites(folder: Path, output: Path) -> None:
    """What the weights of the package were fitted on."""
    write_figures(folder / "drawn", per_kind=_DRAWN_PER_KIND)
    for row, (kind, (number, settings)) in enumerate(TRAINING.items()):
        images = ("drawn",) if kind == "drawn" else _IMAGES
        for place, side in enumerate(_LONG_SIDES):
            more = [*settings, "--long_side", str(side)]
            seed = 10 * (row + 1) + 2 * place + 1
            make_composites(folder, output / f"{kind}_{side}", number, seed, more, images)


def write_single_drawn(folder: Path, per_kind: int, seed: int) -> None:
    """Diagrams, and plots with one pair of axes."""
    folder.mkdir(parents=True)
    for kind in KINDS:
        singles = (number for number in count() if kind not in PLOTS or _has_one_plot(kind, number, seed))
        for number in islice(singles, per_kind):
            data, suffix = as_published(draw_figure(kind, number, seed=seed), np.random.default_rng([seed, number]))
            (folder / f"{kind}_{number:03d}{suffix}").write_bytes(data)


def _has_one_plot(kind: str, number: int, seed: int) -> bool:
    """Whether `draw_figure` draws one pair of axes: where its first random number is below 0.6."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), number]).random() < 0.6


class Table:
    """Counts by row: gold, found, matched, figures, figures with one box."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(5))

    def add(self, names: Sequence[str], gold: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> None:
        """One figure, to several rows."""
        counts = count_boxes(gold, found)
        for name in names:
            self._counts[name] += (counts.num_gold, counts.num_found, counts.num_matched, 1, len(found) == 1)

    def rows(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1, figures, and the share left whole, by row."""
        made = {}
        for name, counts in self._counts.items():
            precision, recall, f1 = precision_recall_f1(counts[:3]).tolist()
            made[name] = {
                "figures": int(counts[3]), "precision": precision, "recall": recall, "f1": f1,
                "whole": float(counts[4] / counts[3]),
            }  # fmt: skip
        return made


def measure(folder: Path, number: int, table: Table) -> dict[str, list[float]]:
    """Composites of every setting on every page into the table; seconds of each figure at 700 px."""
    seconds: dict[str, list[float]] = {"decode": [], "detect": []}
    write_single_drawn(folder / "drawn", _DRAWN_PER_KIND // 2, seed=1)
    for seed, (name, settings) in enumerate(SETTINGS.items()):
        images = ("drawn",) if "drawn plots and" in name else _IMAGES
        for page in PAGES:
            output = folder / "composites" / f"{seed}_{page}"
            make_composites(folder, output, number, 100 + seed, [*settings, "--page", page], images)
            for path, gold in read_composites(output):
                start = time.process_time()
                image = decode_image(path)
                middle = time.process_time()
                found = find_subfigures(image)
                seconds["decode"].append(middle - start)
                seconds["detect"].append(time.process_time() - middle)
                table.add(_rows_of(name, page, len(gold)), gold, found)
    return seconds


def _rows_of(name: str, page: str, num_parts: int) -> list[str]:
    rows = [name]
    if name.startswith("gap 3"):
        rows += ["gap 3 to 20 px", f"gap 3 to 20 px, {page} page"]
    if name.startswith("no gap"):
        rows += ["no gap"]
    if not name.startswith("single") and "plots" not in name:
        rows += [f"{num_parts} parts" if num_parts < 7 else "7 parts and more"]
    return rows


def main() -> None:
    """Measures and writes, or writes composites to learn from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--training_composites", type=Path)
    parser.add_argument("--number", type=int, default=80, help="figures of each setting on each page (80)")
    args = parser.parse_args()
    find_subfigures(Image.new("RGB", (64, 64)))  # reads the weights
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_half(args.data, folder, 0 if args.training_composites else 1)
        if args.training_composites:
            write_training_composites(folder, args.training_composites)
            return
        table = Table()
        seconds = measure(folder, args.number, table)
    result = {
        "benchmark": "subfigures",
        "rows": table.rows(),
        "milliseconds": {
            kind: {"median": 1000 * statistics.median(values), "mean": 1000 * statistics.fmean(values)}
            for kind, values in seconds.items()
        },
        "figures_per_second": 1 / statistics.fmean(seconds["detect"]),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "date": date.today().isoformat(),
    }
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
