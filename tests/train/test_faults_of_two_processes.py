"""Faults of one of two processes: both end, one says why, and the run goes on to the weights of one left alone."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.data import EpochPlan
from phenolip.train.entry import run_entry_point
from phenolip.train.loop import TrainingLoop

pytestmark = pytest.mark.slow  # of starting two processes

FAULTS = {  # name -> rank, what it says
    "nan": (1, "The loss is not finite at step 4"),
    "full_disk": (0, "is full: free some space and give `--resume true`"),
    "lost_worker": (1, "A process that reads the data was lost after step"),
    "no_memory": (1, "Memory ran out in the batch after step 3"),
}
LONGEST_S = 60


class Slope(torch.nn.Module):
    """The smallest objective; with a fault in its fourth forward pass."""

    def __init__(self, fault):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.fault, self.calls = torch.nn.Linear(3, 1), fault, 0

    def forward(self, batch):
        self.calls += 1
        if self.calls == 4 and self.fault == "no_memory":
            raise torch.OutOfMemoryError("It is full.")
        factor = float("nan") if self.calls == 4 and self.fault == "nan" else 1.0
        return {"loss": factor * (torch.dropout(self.layer(batch["x"]), 0.5, True) ** 2).mean()}


class Rows:
    def __init__(self, deadly_from):
        self.deadly_from = deadly_from

    def __len__(self):
        return 16

    def __getitem__(self, key):
        if key[0] >= self.deadly_from:  # an epoch
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.full((3,), float(key[1] + key[0]))


def stack(rows):
    return {"x": torch.stack(rows)}


def run_rank(rank, port, folder, fault, resume):
    """Ten steps of one of two processes, a checkpoint each; leaves as an entry script does."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    if fault == "full_disk":
        fill_the_disk_at_step_3()
    run = RunArguments(
        output_dir=str(folder), max_steps=10, batch_size=4, save_steps=1, log_steps=1, mixed_precision="no",
        learning_rate=1e-2, num_threads=1, num_workers=int(fault == "lost_worker"), resume=resume,
    )  # fmt: skip
    accelerator = build_accelerator(run)
    plan = EpochPlan(16, run.batch_size, seed=0, rank=rank, world_size=2)
    rows = Rows(deadly_from=1 if fault == "lost_worker" else 99)
    loop = TrainingLoop(Slope(fault), rows, stack, plan, run, accelerator, {})
    weights = loop.fit().layer.state_dict()
    if rank == 0:
        torch.save(weights, folder / "weights.pt")


def fill_the_disk_at_step_3():
    sync = os.fsync

    def fsync(number):
        if ".step_00000003" in os.readlink(f"/proc/self/fd/{number}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    os.fsync = fsync


def both(folder, fault=None, rank_of_fault=0, resume=False):
    """Exit codes of both ranks and what they wrote; the other is told to end when one has failed, as launchers do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    pids = []
    for rank in (0, 1):
        if not (pid := os.fork()):
            code = 1
            try:
                log = os.open(folder / f"rank{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, 1)
                os.dup2(log, 2)
                own = fault if rank == rank_of_fault else None
                run_entry_point(lambda rank=rank, own=own: run_rank(rank, port, folder, own, resume))
                code = 0
            except SystemExit as left:
                code = left.code
            except BaseException as error:
                sys.stderr.write(f"unexpected {type(error).__name__}: {error}\n")
            finally:
                sys.stderr.flush()
                os._exit(code)
        pids.append(pid)
    return [wait_for(pids, number) for number in (0, 1)], [(folder / f"rank{rank}.log").read_text() for rank in (0, 1)]


_ENDS: dict[int, int] = {}


def wait_for(pids, number):
    """Exit code of one; what hangs is killed and counts as such."""
    started = time.monotonic()
    while pids[number] not in _ENDS:
        for pid in pids:
            if pid not in _ENDS:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    _ENDS[pid] = os.waitstatus_to_exitcode(status)
                elif any(_ENDS.get(other) for other in pids):
                    os.kill(pid, signal.SIGTERM)
                if time.monotonic() - started > LONGEST_S and pid not in _ENDS:
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return _ENDS[pids[number]]


def main(folder):
    """Prints, of each fault, how both ranks ended with it and how the run that goes on did."""
    ends, _ = both(folder / "whole")
    report = {"whole": ends}
    wanted = torch.load(folder / "whole" / "weights.pt", weights_only=True)
    for fault, (rank, _) in FAULTS.items():
        ends, words = both(folder / fault, fault, rank)
        kept = sorted(path.name for path in (folder / fault / "checkpoints").glob("step_*"))
        resumed, _ = both(folder / fault, resume=True)
        found = torch.load(folder / fault / "weights.pt", weights_only=True)
        same = all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
        report[fault] = {"ends": ends, "words": words, "kept": kept, "resumed": resumed, "same": same}
    print(json.dumps(report))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """All of it in one process that has loaded everything, and forks a pair for each run."""
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("two"))]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=settings)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_two_processes_end_by_themselves(report):
    assert report["whole"] == [0, 0]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_process_ends_both_with_a_reason_and_loses_nothing(report, fault):
    found, (rank, sentence) = report[fault], FAULTS[fault]
    assert found["ends"][rank] == 1 and sentence in found["words"][rank] and "Traceback" not in found["words"][rank]
    others = found["words"][1 - rank]
    assert found["ends"][1 - rank] in (1, 75) and "Traceback" not in others and "unexpected" not in others
    assert found["kept"] in (["step_00000001", "step_00000002"], ["step_00000002", "step_00000003"])
    assert found["resumed"] == [0, 0] and found["same"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
