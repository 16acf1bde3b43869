"""Parallel users of the demo: every request must be answered; how long the answers take.

    python benchmarks/demo_load.py --model runs/quickstart/stage2 --users 8 --seconds 300 --output runs/demo_load.json

Starts the page on a free port in a process of its own, as `phenolip demo` does, and lets each user, a client of
Gradio's API, upload a phantom and ask for its phenotypes with the map, again and again. `--users 1` gives the time of
one answer. The machine does the work of the users as well.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np

from phenolip.demo.examples import draw_examples
from phenolip.provenance import git_commit, hardware, package_versions, write_json

START_TIMEOUT_S = 300


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


def use(address: str, images: list[str], stop: float, seconds: list[float], failures: list[str]) -> None:
    """One user: asks until the time `stop`."""
    from gradio_client import Client, handle_file

    client, count = Client(address, verbose=False), 0
    while time.monotonic() < stop:
        began = time.monotonic()
        try:
            ranked = client.predict(handle_file(images[count % len(images)]), api_name="/rank")[0]
            if "ph-bars" not in ranked:
                failures.append("no phenotypes in the answer")
        except Exception as error:  # whatever it is, it is what the benchmark counts
            failures.append(f"{type(error).__name__}: {error}")
        seconds.append(time.monotonic() - began)
        count += 1


def main() -> None:
    """Runs the users and prints counts and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    seconds, failures = [], []
    with tempfile.TemporaryDirectory() as folder:
        images = draw_examples(Path(folder))
        process, address = start_page(args.model)
        try:
            stop = time.monotonic() + args.seconds
            arguments = (address, images, stop, seconds, failures)
            users = [threading.Thread(target=use, args=arguments) for _ in range(args.users)]
            for user in users:
                user.start()
            for user in users:
                user.join()
        finally:
            process.terminate()
            process.wait()
    median, p95 = np.quantile(seconds, (0.5, 0.95)) if seconds else (0.0, 0.0)
    result = {
        "model": args.model,
        "users": args.users,
        "seconds": args.seconds,
        "num_requests": len(seconds),
        "num_failures": len(failures),
        "failures": sorted(set(failures))[:20],
        "median_s": float(median),
        "p95_s": float(p95),
        "git_commit": git_commit(),
        "packages": package_versions("gradio"),
        "hardware": hardware(),
    }
    write_json(args.output, result)
    sys.stdout.write(
        f"{args.users} users, {args.seconds:g} s: {len(seconds)} requests, {len(failures)} failed; "
        f"median {median:.2f} s, 95 % within {p95:.2f} s\n"
    )


if __name__ == "__main__":
    main()
