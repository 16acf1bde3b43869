"""Faults of a run: the last good checkpoint stays, and the run goes on from it to the same weights."""

import errno
import json
import os
import pickle
import signal
import time

import pytest
import torch
from accelerate.state import AcceleratorState
from filelock import FileLock, Timeout
from safetensors.torch import save_file

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.checkpoints import Checkpoints, damage, write_errors
from phenolip.train.data import EpochPlan
from phenolip.train.faults import Preempted, explained, on_terminate, owned
from phenolip.train.loop import TrainingLoop


class Slope(torch.nn.Module):
    """The smallest objective; it does `fault` in its forward pass number `at`, counted over its life."""

    def __init__(self, fault=lambda: 1.0, at=0):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.fault, self.at, self.calls = torch.nn.Linear(3, 1), fault, at, 0

    def forward(self, batch):
        self.calls += 1
        factor = self.fault() if self.calls == self.at else 1.0
        return {"loss": factor * (torch.dropout(self.layer(batch["x"]), 0.5, True) ** 2).mean()}


class Rows:
    def __len__(self):
        return 16

    def __getitem__(self, key):
        return torch.full((3,), float(key[1] + key[0]))


class DeadlyRows(Rows):
    """Whoever reads one is killed."""

    def __getitem__(self, key):
        os.kill(os.getpid(), signal.SIGKILL)


def stack(rows):
    return {"x": torch.stack(rows)}


@pytest.fixture
def train(tmp_path):
    """Function that trains the slope for six steps, a checkpoint each."""

    def run(objective=None, name="run", samples=None, **changes):
        AcceleratorState._reset_state(True)
        settings = {"max_steps": 6, "batch_size": 4, "save_steps": 1, "log_steps": 1, "mixed_precision": "no"}
        arguments = RunArguments(output_dir=str(tmp_path / name), **(settings | {"learning_rate": 1e-2} | changes))
        plan = EpochPlan(16, 4, seed=0)
        accelerator = build_accelerator(arguments)
        loop = TrainingLoop(objective or Slope(), samples or Rows(), stack, plan, arguments, accelerator, {})
        torch.manual_seed(1)  # wherever the objective was made
        return loop.fit().layer.weight.detach().clone()

    return run


@pytest.fixture
def whole(train):
    """Weights of the run that nothing happened to."""
    return train(name="whole")


def names(folder):
    return sorted(path.name for path in (folder / "run" / "checkpoints").iterdir())


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut, flip, os.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "progress.json"])
def test_a_spoilt_newest_checkpoint_is_set_aside(train, whole, tmp_path, spoil, name):
    with pytest.raises(Preempted):
        train(stop_after_steps=4)
    spoil(tmp_path / "run" / "checkpoints" / "step_00000004" / name)
    with pytest.warns(UserWarning, match=r"step_00000004 is damaged .*: it is set aside as \.step_00000004\.damaged"):
        assert torch.equal(train(resume=True), whole)
    assert ".step_00000004.damaged" in names(tmp_path)


def test_where_all_are_spoilt_the_run_starts_anew(train, whole, tmp_path):
    with pytest.raises(Preempted):
        train(stop_after_steps=2)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        cut(path / "files.json")
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "lo')  # as a kill leaves it
    with pytest.warns(UserWarning, match="set aside"):
        assert torch.equal(train(resume=True), whole)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_code_in_a_checkpoint_is_never_run(train, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    with pytest.raises(Preempted):
        train(stop_after_steps=2)
    folder = tmp_path / "run" / "checkpoints" / "step_00000002"
    torch.save({"state": Trap()}, folder / "optimizer.bin")
    (folder / "files.json").unlink()  # the trap's maker would write a fitting one
    with pytest.raises(pickle.UnpicklingError):
        train(resume=True)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "files.json"])
def test_a_full_disk_leaves_the_checkpoints_before(train, whole, tmp_path, monkeypatch, name):
    rename, sync, full = os.replace, os.fsync, []

    def fsync(number):
        if ".step_00000003" in (path := os.readlink(f"/proc/self/fd/{number}")) and name in path:
            full.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(DataError, match="^The disk of .* is full: free some space and give `--resume true`"):
            train()
    assert full and names(tmp_path) == ["step_00000001", "step_00000002"] and os.replace is rename
    assert torch.equal(train(resume=True), whole)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed: file write failed"),
        OSError(errno.EDQUOT, "Quota"),
    ],
)
def test_every_way_to_say_that_the_disk_is_full(error, tmp_path):
    with pytest.raises(DataError, match="The disk of .* is full"), write_errors(tmp_path):
        raise error
    with pytest.raises(DataError, match="cannot be written, earlier checkpoints are kept: .*denied"):
        with write_errors(tmp_path):
            raise PermissionError(errno.EACCES, "denied")
    with pytest.raises(RuntimeError, match="else"), write_errors(tmp_path):
        raise RuntimeError("else")


def test_rotation_waits_until_the_new_one_verifies(tmp_path):
    checkpoints = Checkpoints(tmp_path, 1)
    for step in (1, 2):
        partial = checkpoints.partial(step)
        checkpoints.begin(partial)
        (partial / "progress.json").write_text(json.dumps({"step": step, "num_steps": 3}))
        save_file({"a": torch.zeros(2)}, partial / "model.safetensors")
        checkpoints.publish(partial)
    partial = checkpoints.partial(3)
    checkpoints.begin(partial)
    (partial / "progress.json").write_text(json.dumps({"step": 3, "num_steps": 3}))
    (partial / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match="did not read back as it was written: model.safetensors is no safetensors"):
        checkpoints.publish(partial)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]
    assert checkpoints.newest().name == "step_00000002" and damage(tmp_path / "step_00000002") is None
    (tmp_path / "step_00000002" / "progress.json").write_text("{}")
    assert damage(tmp_path / "step_00000002") == "progress.json names no step"


def test_a_loss_of_nan_is_not_saved(train, whole, tmp_path):
    with pytest.raises(DataError, match="The loss is not finite at step 4"):
        train(Slope(lambda: float("nan"), at=4), log_steps=100)
    assert names(tmp_path) == ["step_00000002", "step_00000003"]
    assert torch.equal(train(resume=True, log_steps=100), whole)


def test_a_weight_of_nan_is_not_saved(train, tmp_path):
    objective = Slope()

    def spoil():
        objective.layer.bias.data.fill_(float("inf"))
        return 0.0

    objective.fault, objective.at = spoil, 3
    objective.layer.register_forward_hook(lambda *_: torch.zeros(4, 1, requires_grad=True))
    with pytest.raises(DataError, match="A weight is not finite at step 3"):
        train(objective)
    assert names(tmp_path) == ["step_00000001", "step_00000002"]


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
def test_steps_that_are_not_finite_are_skipped_up_to_the_cap(train, tmp_path, max_grad_norm):
    weights = train(Slope(lambda: float("nan"), at=4), max_skipped_steps=1, max_grad_norm=max_grad_norm)
    assert torch.isfinite(weights).all()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["skipped_steps"]) for line in lines] == [(1, 0), (2, 0), (3, 0), (5, 1), (6, 1)]
    objective = Slope()
    objective.forward = lambda batch: {"loss": float("nan") * objective.layer(batch["x"]).sum()}
    with pytest.raises(DataError, match="not finite in 2 steps up to step 2, more than `max_skipped_steps` 1 allows"):
        train(objective, name="more", max_skipped_steps=1, max_grad_norm=max_grad_norm)


def fail(error):
    def raise_it():
        raise error

    return raise_it


def test_exhausted_memory_says_what_to_lower(train, whole, tmp_path):
    for error in (torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")):
        with pytest.raises(DataError, match="Memory ran out in the batch after step 2: set `micro_batch_size`"):
            train(Slope(fail(error), at=3), overwrite=True)
    assert torch.equal(train(resume=True), whole)
    with pytest.raises(DataError, match=r"lower `micro_batch_size` \(now 8\)"), explained(lambda: 0, 8):
        raise MemoryError
    with pytest.raises(RuntimeError, match="another"), explained(lambda: 0, 8):
        raise RuntimeError("another")


def test_a_lost_worker_is_one_sentence(train):
    with pytest.raises(DataError, match="A process that reads the data was lost after step 0 .*`--resume true`"):
        train(samples=DeadlyRows(), num_workers=1)


def test_sigterm_twice_saves_once_and_leaves_with_75(train, whole, tmp_path):
    def stop():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    started = time.monotonic()
    with pytest.raises(Preempted) as left:
        train(Slope(stop, at=3), save_steps=0)
    assert left.value.code == 75 and time.monotonic() - started < 30
    assert names(tmp_path) == ["step_00000003"]
    assert torch.equal(train(resume=True, save_steps=0), whole)


def test_sigterm_outside_of_the_loop_leaves_with_75():
    def leave():
        raise Preempted

    with pytest.raises(Preempted), on_terminate(leave):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_one_run_has_the_folder(train, tmp_path):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(ConfigurationError, match="is in use by another run"):
        train()
    train()  # a file that nobody holds is no lock
    with owned(tmp_path / "none", owner=False):
        assert not (tmp_path / "none").exists()


def test_the_lock_of_a_killed_run_is_no_obstacle(train, tmp_path):
    if not (child := os.fork()):
        FileLock(tmp_path / ".lock").acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with owned(tmp_path), pytest.raises(Timeout):
        FileLock(tmp_path / ".lock").acquire(timeout=0)


def test_deterministic_and_caps_are_settings(train, whole):
    try:
        assert torch.equal(train(deterministic=True), whole)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(ConfigurationError, match="`max_skipped_steps` must be 0 or above"):
        train(max_skipped_steps=-1)
