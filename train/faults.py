"""Faults of a training run, in one sentence each with what to do."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from phenolip.exceptions import ConfigurationError, DataError

PREEMPTED_EXIT_CODE = 75
_LOST_PEER_TEXTS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # as gloo puts it


class Preempted(SystemExit):
    """Raised after a checkpoint is saved because the run was asked to stop; exits with code 75."""

    def __init__(self) -> None:
        super().__init__(PREEMPTED_EXIT_CODE)


@contextmanager
def on_terminate(act: Callable[[], object]) -> Iterator[None]:
    """Calls `act` at every SIGTERM, where signals can be handled (the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(*_: object) -> None:
        if os.getpid() != owner:  # a worker that was forked from here
            os._exit(128 + signal.SIGTERM)
        act()

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def explained(step: Callable[[], int], micro_batch_size: int) -> Iterator[None]:
    """Says what to do where memory runs out in a batch, or a worker that reads the data or another process is lost.

    Args:
        step: Steps that were taken.
        micro_batch_size: Of the run; 0 where batches are encoded at once.

    Raises:
        DataError: In the place of each.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if "DataLoader worker" in text:
            raise DataError(
                f"A process that reads the data was lost after step {step()} (killed, or out of memory): give "
                "`--resume true` to go on, with fewer `num_workers` if it happens again."
            ) from error
        if any(sign in text for sign in _LOST_PEER_TEXTS):
            raise DataError(
                f"Another process of the run was lost after step {step()}, and what it wrote says why: give "
                "`--resume true` to go on."
            ) from error
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in text:
            less = "set `micro_batch_size`"
            if micro_batch_size:
                less = f"lower `micro_batch_size` (now {micro_batch_size})"
            raise DataError(
                f"Memory ran out in the batch after step {step()}: {less}, which leaves the loss as it is, or lower "
                "`batch_size`; checkpoints are kept."
            ) from error
        raise


@contextmanager
def owned(output_dir: Path, *, owner: bool = True) -> Iterator[None]:
    """Holds an output folder for this run alone; the lock of a dead process is none.

    Args:
        output_dir: Made if missing.
        owner: Whether this process is the one that holds it for all of the run.

    Raises:
        ConfigurationError: Another run has it.
    """
    if not owner:
        yield
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"`output_dir` {output_dir} is in use by another run: wait for it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()
