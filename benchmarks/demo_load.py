"""Parallel users of the demo: every request must be answered; how long the answers take.

    python benchmarks/demo_load.py --model runs/quickstart/stage2 --users 8 --seconds 300 --output runs/demo_load.json

Starts the page on a free port in a process of its own, as `phenolip demo` does. Each user, a client of Gradio's API,
uploads a phantom and asks for its phenotypes, then for the map of the best one, as the page does by itself, again and
again without a pause; a person would look at the answer first. `--images DIR` takes other pictures than phantoms,
`--users 1` gives the time of an answer without others. The machine does the work of the users as well. The exit code
is 1 where a request failed.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from phenolip.demo.examples import draw_examples
from phenolip.provenance import git_commit, hardware, package_versions, write_json

START_TIMEOUT_S = 300
GOAL_S = 2.0


def start_page(model: str) -> tuple[subprocess.Popen, str]:
    """The page in a process of its own, and its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "phenolip.cli", "demo", "--model", model, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(address, timeout=10).raise_for_status()
            return process, address
        except httpx.HTTPError:
            time.sleep(0.5)
    process.kill()
    raise SystemExit(f"The page did not answer within {START_TIMEOUT_S} s.")


def use(address: str, images: list[str], first: int, stop: float, times: dict[str, list], failures: list) -> None:
    """One user: asks until the time `stop`, beginning with image `first`; seconds of answers go to `times`."""
    from gradio_client import Client, handle_file

    client, number = None, first
    while time.monotonic() < stop:
        try:
            client = client or Client(address, verbose=False)
            image = handle_file(images[number % len(images)])
            number += 1
            ranked = _timed(times["rank"], client, image, api_name="/rank")[0]
            hpo_id = re.search(r"HP:\d{7}", ranked)[0]
            heat = _timed(times["map"], client, image, hpo_id, "occlusion", api_name="/explain")[0]
            if "data:image" not in heat:
                failures.append("no map in the answer")
        except Exception as error:  # whatever it is, it is what the benchmark counts
            failures.append(f"{type(error).__name__}: {error}")
            time.sleep(0.1)  # a page that has died is not asked a thousand times a second


def _timed(seconds: list[float], client: Any, *inputs: Any, api_name: str) -> Any:
    began = time.monotonic()
    answer = client.predict(*inputs, api_name=api_name)
    seconds.append(time.monotonic() - began)
    return answer


def describe(seconds: list[float]) -> dict[str, float]:
    """Number of answers, median, 95th percentile and longest time in seconds, share within `GOAL_S`."""
    if not seconds:
        return {"num_answers": 0}
    median, p95, longest = np.quantile(seconds, (0.5, 0.95, 1.0)).tolist()
    within = float(np.mean(np.array(seconds) < GOAL_S))
    return {
        "num_answers": len(seconds), "median_s": median, "p95_s": p95, "max_s": longest, f"under_{GOAL_S:g}_s": within
    }  # fmt: skip


def main() -> int:
    """Runs the users and prints counts and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--images", type=Path, metavar="DIR", help="PNG and JPEG files to upload; by default phantoms")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    times, failures = {"rank": [], "map": []}, []
    with tempfile.TemporaryDirectory() as folder:
        kinds = (".png", ".jpg", ".jpeg")
        files = sorted(str(file) for file in args.images.iterdir() if file.suffix in kinds) if args.images else []
        if args.images and not files:
            parser.error(f"`--images` must be a folder with PNG or JPEG files, got {args.images}")
        images = files or draw_examples(Path(folder))
        process, address = start_page(args.model)
        load_before, began = os.getloadavg()[0], os.times()
        try:
            stop = time.monotonic() + args.seconds
            users = [
                threading.Thread(target=use, args=(address, images, user, stop, times, failures))
                for user in range(args.users)
            ]
            for user in users:
                user.start()
            for user in users:
                user.join()
        finally:
            process.terminate()
            process.wait()
    result = {
        "model": args.model,
        "users": args.users,
        "seconds": args.seconds,
        "rank": describe(times["rank"]),
        "map": describe(times["map"]),
        "num_failures": len(failures),
        "failures": sorted(set(failures))[:20],
        "load_before": load_before,
        "processor_s": {
            "users": os.times().user - began.user,
            "page_and_its_start": os.times().children_user - began.children_user,
        },
        "git_commit": git_commit(),
        "packages": package_versions("gradio"),
        "hardware": hardware(),
    }
    write_json(args.output, result)
    sys.stdout.write(f"{args.users} users, {args.seconds:g} s: {len(failures)} requests failed\n")
    for name, seconds in times.items():
        found = describe(seconds)
        if seconds:
            sys.stdout.write(
                f"{name}: {found['num_answers']} answers, median {found['median_s']:.2f} s, 95 % within "
                f"{found['p95_s']:.2f} s, longest {found['max_s']:.2f} s, under {GOAL_S:g} s "
                f"{100 * found[f'under_{GOAL_S:g}_s']:.1f} %\n"
            )
    return 1 if failures or not times["map"] else 0


if __name__ == "__main__":
    sys.exit(main())
