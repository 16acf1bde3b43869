"""InfoNCE of large batches: memory and time of the plain loss and of the loss by tiles against the number of rows.

    python benchmarks/loss.py --output FILE.json                            ten minutes and more on two cores
    python benchmarks/loss.py --sizes 2048 8192 --steps 3                   a minute

Each size has a process of its own, whose peak of resident memory is the figure; embeddings of two sides, both of which
want a gradient, are part of it. A plain loss of 8,192 rows steps before and after every step by tiles: what their time
per element, N x N, is set beside. The floor is four products of N x N x width (similarities twice, since they are not
kept, and a gradient to either side), at the speed of a large product measured beside each step.
"""

import statistics
import sys
from typing import Any

from worker import Worker, arguments, hardware, summary, write

PRODUCT_ROWS = 4096  # of the product that the floor is known by, as in `loss_sides.py`
REFERENCE_ROWS = 8192
PLAIN_UP_TO = 8192  # rows, beyond which the plain loss wants gigabytes
TIME_BAR, MEMORY_BAR_MB, BAR_ROWS = 1.3, 1.5e9 / 2**20, 65_536
NUM_PRODUCTS = 4

Answers = list[dict[str, Any]]


def main() -> None:
    """Measures every size and writes."""
    parser = arguments(__doc__)
    sizes = [2**power for power in range(11, 17)]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, metavar="N", help="rows (2048 ... 65536)")
    parser.add_argument("--width", type=int, default=512, metavar="D", help="of the embeddings (512)")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="counted steps; beyond 8,192 rows one (3)")
    args = parser.parse_args()
    reference = _worker("plain", REFERENCE_ROWS, args.width, args.threads)
    result: dict[str, Any] = {
        "benchmark": "symmetric InfoNCE, forward and backward, float32",
        "width": args.width,
        "measured": {},
        "bars": {"rows": BAR_ROWS, "time_per_element_ratio": TIME_BAR, "peak_mb": MEMORY_BAR_MB},
        "torch": reference.facts["torch"],
        "hardware": hardware(args.threads),
    }
    for rows in args.sizes:  # each is written when it is there: the largest may take longer than one waits
        result["measured"][str(rows)] = _measure(rows, reference, args.width, args.threads, args.steps)
        write(result, args.output)
    reference.close()


def _worker(side: str, rows: int, width: int, threads: int) -> Worker:
    worker = Worker(
        sys.executable, "loss_sides.py", {"side": side, "rows": rows, "width": width, "threads": threads}, threads
    )
    worker.step("warm")
    worker.step("product")
    return worker


def _measure(rows: int, reference: Worker, width: int, threads: int, steps: int) -> dict[str, Any]:
    """Both sides at one size, where the plain loss still fits, with steps of the reference between theirs."""
    sides = {"tiled": _worker("tiled", rows, width, threads)}
    if rows <= PLAIN_UP_TO:
        sides["plain"] = _worker("plain", rows, width, threads)
    answers: dict[str, Answers] = {side: [] for side in (*sides, "reference", "product")}
    for _ in range(steps if rows <= REFERENCE_ROWS else 1):
        answers["reference"].append(reference.step())
        for side, worker in sides.items():
            answers["product"].append(worker.step("product"))
            answers[side].append(worker.step())
            print(f"{rows} rows, {side}: {answers[side][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
            answers["product"].append(worker.step("product"))
    answers["reference"].append(reference.step())
    for worker in sides.values():
        worker.close()
    found = {side: summary(answers[side], rows) | {"start_mb": sides[side].facts["start_mb"]} for side in sides}
    return {**found, "tiled_against": _comparison(rows, width, answers)}


def _comparison(rows: int, width: int, answers: dict[str, Answers]) -> dict[str, float]:
    """How often the time per element of the plain loss at the reference, and the floor, the loss by tiles takes."""
    found = {}
    for key, name in (("seconds", ""), ("processor_seconds", "processor_")):
        median = {side: statistics.median(answer[key] for answer in of_side) for side, of_side in answers.items()}
        floor = NUM_PRODUCTS * median["product"] * (rows / PRODUCT_ROWS) ** 2
        found |= {
            f"{name}time_per_element_ratio": median["tiled"] / rows**2 / (median["reference"] / REFERENCE_ROWS**2),
            f"{name}floor_s": floor,
            f"{name}times_the_floor": median["tiled"] / floor,
        }
    gigaflops = 2e-9 * PRODUCT_ROWS**2 * width / statistics.median(answer["seconds"] for answer in answers["product"])
    return found | {"product_gigaflops_per_s": gigaflops}


if __name__ == "__main__":
    main()
