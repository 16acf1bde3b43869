"""One side of a comparison, warm in a process of its own: the parent asks for a step by a pipe and reads its time."""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

SCALE = 1.0 if sys.platform == "darwin" else 1024.0  # of ru_maxrss, to bytes


class Worker:
    """A script that calls `serve`, run by an interpreter that may belong to another environment.

    Args:
        python: Interpreter.
        script: File beside this one.
        settings: What `serve` hands to the script's `build`, as plain JSON.
        threads: Threads of its matrix products.
    """

    def __init__(self, python: Path | str, script: str, settings: dict[str, Any], threads: int) -> None:
        spinning = {"GOMP_SPINCOUNT": "30000"}  # threads that wait by spinning slow each other where cores are shared
        environment = {**os.environ, **spinning, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        command = [str(python), str(Path(__file__).with_name(script)), json.dumps(settings)]
        pipe = subprocess.PIPE
        self.script = script
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.facts = self._answer()

    def step(self, kind: str = "step") -> dict[str, Any]:
        """One step of a kind that the script knows: {"seconds", "loss", ...}."""
        print(kind, file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.script} ended with exit code {self.process.wait()}; its error is above.")
        return json.loads(line)


def serve(build: Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Callable[[], float]]]]) -> None:
    """Main function of a side: builds it, then answers each line of standard input with the time of such a step.

    Args:
        build: Settings -> facts about the side, and steps by kind; a step returns its loss once it is done.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    facts, steps = build(json.loads(sys.argv[1]))
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        began, began_processor = time.perf_counter(), time.process_time()
        loss = steps[line.strip()]()
        answer = {
            "seconds": time.perf_counter() - began,
            "processor_seconds": time.process_time() - began_processor,
            "loss": loss,
            "peak_mb": peak_mb(),
        }
        print(json.dumps(answer), file=answers, flush=True)


def peak_mb() -> float:
    """Most memory that this process has had resident so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * SCALE / 2**20


def alternate(
    sides: Sequence[tuple[str, Worker, str]], num_steps: int, report: Callable[[str], None] = print
) -> dict[str, list[dict[str, Any]]]:
    """Steps of all sides in turn, after one of each that is not counted; name -> answers."""
    for _, worker, kind in sides:
        worker.step(kind)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in sides}
    for number in range(num_steps):
        for name, worker, kind in sides:
            answers[name].append(worker.step(kind))
            report(f"{number + 1}/{num_steps} {name}: {answers[name][-1]['seconds']:.2f} s")
    return answers


def summary(answers: list[dict[str, Any]], num_rows: int) -> dict[str, float]:
    """Median and range of the seconds of a step, and rows a second at the median."""
    seconds = sorted(answer["seconds"] for answer in answers)
    processor = statistics.median(answer["processor_seconds"] for answer in answers)
    middle = statistics.median(seconds)
    return {
        "median_s": middle,
        "least_s": seconds[0],
        "most_s": seconds[-1],
        "processor_median_s": processor,
        "rows_per_s": num_rows / middle,
        "peak_mb": max(answer["peak_mb"] for answer in answers),
        "steps": len(answers),
    }


def ratios(ours: list[dict[str, Any]], peer: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as long the peer takes: of the medians, and the range over steps side by side; by the clock and
    by processor time, which other programs on the same cores disturb less."""
    found = {}
    for key, name in (("seconds", ""), ("processor_seconds", "processor_")):
        pairs = [theirs[key] / own[key] for own, theirs in zip(ours, peer, strict=True)]
        medians = [statistics.median(answer[key] for answer in answers) for answers in (peer, ours)]
        found |= {f"{name}ratio": medians[0] / medians[1]}
        found |= {f"{name}ratio_least": min(pairs), f"{name}ratio_most": max(pairs)}
    return found


def hardware(threads: int) -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def write(result: dict[str, Any], output: Path | None) -> None:
    """Prints the result and, where a file is named, writes it."""
    text = json.dumps(result, indent=2)
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")


def arguments(description: str) -> argparse.ArgumentParser:
    """Parser with what every comparison takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write besides printing it")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of each side (2)")
    return parser
