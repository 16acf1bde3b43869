"""How long an exact search takes, and how much memory: ours, NumPy's product and argpartition by chunks, FAISS flat.

    python benchmarks/search.py --output search.json

One million random unit rows of 512 float32 numbers, 1,000 queries near some of them, the ten best of each. The three
sides are processes of their own that take turns; their rows are one file, which is in the system's cache after the
first turn. FAISS holds a copy in memory; filling it is not timed. Floor: 2 x rows x queries x width operations at 150
GF/s, the matrix product of two such cores at its best. Needs the extra `faiss` for the third side, and 4 GB of
disk in --folder.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from worker import Worker, alternate, arguments, hardware, ratios, summary, write

SIDES = ("ours", "numpy", "faiss")
_BATCH_ROWS = 50_000


def main() -> None:
    """Makes the rows, lets the sides take turns, and writes JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="rows searched (1000000)")
    parser.add_argument("--queries", type=int, default=1_000, metavar="Q", help="queries of a step (1000)")
    parser.add_argument("--width", type=int, default=512, metavar="D", help="numbers of an embedding (512)")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="rows found for a query (10)")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="timed turns of each side (5)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="who takes part (all)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the rows go meanwhile (temporary)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = {name: str(Path(folder, f"{name}.npy")) for name in ("rows", "queries")}
        _make(paths, args.rows, args.queries, args.width)
        settings = {**paths, "top": args.top, "threads": args.threads}
        names = [name for name in SIDES if name == "ours" or name in args.sides]
        before = hardware(args.threads)
        workers = {
            name: Worker(sys.executable, "search_sides.py", {**settings, "side": name}, args.threads) for name in names
        }
        answers = alternate([(name, worker, "step") for name, worker in workers.items()], args.steps, _report)
        for worker in workers.values():
            worker.close()
    operations = 2.0 * args.rows * args.queries * args.width
    found = {name: {answer["loss"] for answer in turns} for name, turns in answers.items()}
    write(
        {
            "rows": args.rows,
            "queries": args.queries,
            "width": args.width,
            "top": args.top,
            "sides": {name: summary(turns, args.queries) for name, turns in answers.items()},
            "against": {name: ratios(answers["ours"], answers[name]) for name in names[1:]},
            "same_rows": {name: found[name] == found["ours"] for name in names[1:]},
            "floor_s_at_150_gflops": operations / 150e9,
            "hardware": before,
            "load_average_after": [round(value, 1) for value in os.getloadavg()],
        },
        args.output,
    )


def _make(paths: dict[str, str], num_rows: int, num_queries: int, width: int) -> None:
    rng = np.random.default_rng(0)
    rows = open_memmap(paths["rows"], "w+", np.float32, (num_rows, width))
    for start in range(0, num_rows, _BATCH_ROWS):
        part = rng.standard_normal((min(_BATCH_ROWS, num_rows - start), width), np.float32)
        rows[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    near = rows[rng.integers(num_rows, size=num_queries)] + 0.05 * rng.standard_normal(
        (num_queries, width), np.float32
    )
    np.save(paths["queries"], near / np.linalg.norm(near, axis=1, keepdims=True))


def _report(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


if __name__ == "__main__":
    main()
