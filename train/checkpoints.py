"""Checkpoints on disk: whole and verified under their name, or set aside; the last good one is never removed."""

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from phenolip.exceptions import DataError
from phenolip.provenance import write_json

MANIFEST = "files.json"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# How torch and safetensors put it, which hide the number of the error.
_FULL_DISK_TEXTS = ("No space left", "os error 28", "file write failed", "unexpected pos")


class Checkpoints:
    """The folders `step_N` of a run, oldest first.

    A checkpoint is written as `.step_N.partial`, synced to the disk, listed with size and sha256 of each file in
    files.json, read back, and only then renamed. One that does not verify is renamed `.step_N.damaged`.

    Args:
        folder: That holds them.
        limit: How many are kept, 1 or more.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def all(self) -> list[Path]:
        """Those under their final name."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if re.fullmatch(r"step_\d{8}", path.name))

    def partial(self, step: int) -> Path:
        """Where the checkpoint of a step is written to."""
        return self.folder / f".step_{step:08d}.partial"

    def begin(self, partial: Path) -> None:
        """Makes it an empty folder."""
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    def publish(self, partial: Path) -> Path:
        """Syncs, verifies and renames what was written, then drops the oldest beyond the limit.

        Raises:
            DataError: What is read back is not a checkpoint; it is removed, and the others stay.
        """
        final = self.folder / partial.name.removeprefix(".").removesuffix(".partial")
        names = sorted(path.name for path in partial.iterdir())
        for name in names:
            _sync(partial / name)
        write_json(partial / MANIFEST, {name: _describe(partial / name) for name in names})
        _sync(partial)
        if reason := damage(partial):
            shutil.rmtree(partial, ignore_errors=True)
            raise DataError(f"The checkpoint {final} did not read back as it was written: {reason}; others are kept.")
        self._remove(final)
        os.replace(partial, final)
        _sync(self.folder)
        for stale in self.all()[: -self.limit]:
            self._remove(stale)
        return final

    def discard(self, partial: Path) -> None:
        """Removes what was begun."""
        shutil.rmtree(partial, ignore_errors=True)

    def newest(self) -> Path | None:
        """The newest that verifies; newer ones are set aside with a warning. Leftovers of a killed run are removed."""
        if self.folder.is_dir():
            for left in (*self.folder.glob(".step_*.partial"), *self.folder.glob(".step_*.stale")):
                shutil.rmtree(left, ignore_errors=True)
        for path in reversed(self.all()):
            reason = damage(path)
            if reason is None:
                return path
            aside = path.with_name(f".{path.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
            warnings.warn(f"{path} is damaged ({reason}): it is set aside as {aside.name}.", stacklevel=2)
        return None

    def _remove(self, path: Path) -> None:
        """Takes the name away first, so that a kill leaves no half of it."""
        if path.exists():
            stale = path.with_name(f".{path.name}.stale")
            shutil.rmtree(stale, ignore_errors=True)
            os.replace(path, stale)
            shutil.rmtree(stale, ignore_errors=True)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None; of one without files.json, from before there was any, only its form.

    Nothing is unpickled: of torch's files the sum and the archive are looked at.
    """
    try:
        progress = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
        if not {"step", "num_steps"} <= progress.keys():
            return "progress.json names no step"
        if (checkpoint / MANIFEST).exists():
            for name, described in json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8")).items():
                if _describe(checkpoint / Path(name).name) != described:
                    return f"{name} is not what was written"
        return next((reason for path in sorted(checkpoint.iterdir()) if (reason := _malformed(path))), None)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def _malformed(path: Path) -> str | None:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            return f"{path.name} is no safetensors file: {error}"
    if path.suffix in (".bin", ".pkl", ".pt") and not zipfile.is_zipfile(path):
        return f"{path.name} is cut off"
    return None


def _describe(path: Path) -> dict[str, int | str]:
    """Size in bytes and sha256 of a file; a folder, which only sharded training writes, has the name of its files."""
    if path.is_dir():
        return {"folder": sorted(str(file.relative_to(path)) for file in path.rglob("*"))}
    with path.open("rb") as file:
        return {"num_bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    """Puts a file, or the names in a folder, on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Puts one sentence in the place of what torch, safetensors and the system say of a disk that cannot be written.

    Raises:
        DataError: The disk is full, or `folder` cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = getattr(error, "errno", None) in _FULL_DISK or any(text in str(error) for text in _FULL_DISK_TEXTS)
        if full:
            raise DataError(
                f"The disk of {folder} is full: free some space and give `--resume true`; the checkpoints before this "
                "one are kept."
            ) from error
        if isinstance(error, RuntimeError):
            raise
        raise DataError(f"{folder} cannot be written, earlier checkpoints are kept: {error}.") from error
