"""The training loop: accumulation, checkpoints, exact resume, logs; it knows no tower and no loss."""

import contextlib
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.checkpointing import load_accelerator_state, save_accelerator_state
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.provenance import write_json
from phenolip.train.arguments import RunArguments
from phenolip.train.checkpoints import Checkpoints, write_errors
from phenolip.train.data import EpochPlan
from phenolip.train.faults import Preempted, explained, on_terminate, owned
from phenolip.train.gradient_cache import CachedObjective, cached_backward
from phenolip.train.optimizer import build_optimizer, learning_rate_factor, restarted_factor, set_learning_rate
from phenolip.train.sharding import WholeState, average_scalar_gradients, restore, shardable
from phenolip.whole_files import whole_file

# Batches by which `max_minutes` is turned into steps; the untimed ones warm up caches and compilers.
NUM_UNTIMED_BATCHES, NUM_TIMED_BATCHES = 2, 8
# Settings that a resumed run must share with the one that saved, beside what its objective and data depend on.
FIXED_SETTINGS = (
    "learning_rate",
    "head_learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "warmup_fraction",
    "final_learning_rate_fraction",
    "max_grad_norm",
    "gradient_accumulation_steps",
    "max_minutes",
)
# And those that old checkpoints do not name, since they had no other value.
LATER_FIXED_SETTINGS = {
    "optimizer": "adamw",
    "momentum": 0.0,
    "schedule": "cosine",
    "restart_epochs": 2.0,
    "restart_growth": 1,
    "micro_batch_size": 0,
}


class TrainingLoop:
    """Optimises an objective over the batches of a plan.

    Args:
        objective: Module whose forward(batch) returns {"loss": scalar, other name: scalar to log}; with
            `micro_batch_size` an `EmbeddingObjective`.
        samples: Indexed by the keys of `plan`.
        collate: Samples -> batch of tensors.
        plan: Which rows form each batch.
        run: Settings of the run.
        accelerator: From `phenolip.train.accelerator`.
        identity: What must be equal for a checkpoint to be resumed (data revision, model, loss), as plain JSON.
    """

    def __init__(
        self,
        objective: nn.Module,
        samples: Sequence,
        collate: Callable,
        plan: EpochPlan,
        run: RunArguments,
        accelerator: Accelerator,
        identity: dict[str, Any],
    ) -> None:
        self.samples, self.collate, self.plan, self.run = samples, collate, plan, run
        self.accelerator = accelerator
        self.identity = {
            **identity,
            **{name: getattr(run, name) for name in (*FIXED_SETTINGS, *LATER_FIXED_SETTINGS)},
            "mixed_precision": accelerator.mixed_precision,
        }
        accumulation = run.gradient_accumulation_steps
        if run.max_steps > 0:
            self.num_steps = run.max_steps
        else:
            self.num_steps = max(1, run.num_epochs * plan.batches_per_epoch // accumulation)
        self.identity["planned_steps"] = self.num_steps  # of which `max_minutes` may leave fewer
        self.step = self.num_skipped = 0
        self.output_dir = Path(run.output_dir)
        self.checkpoints = Checkpoints(self.output_dir / "checkpoints", run.save_total_limit)
        if run.max_skipped_steps and accelerator.mixed_precision == "fp16":
            raise ConfigurationError("`max_skipped_steps` must be 0 in fp16, whose scaler skips such steps by itself.")
        if run.micro_batch_size:
            _check_cached(objective)
            objective = CachedObjective(objective)
        self.trained = objective
        if accelerator.is_fsdp2:
            objective = shardable(objective, accelerator)
        self.objective, self.optimizer = accelerator.prepare(objective, build_optimizer(objective, run))
        self._stop = threading.Event()

    def fit(self) -> nn.Module:
        """Trains to the last step and returns the unwrapped objective.

        Raises:
            Preempted: After saving, when SIGTERM came or `stop_after_steps` was reached.
            ConfigurationError: There are checkpoints, and the run neither resumes nor overwrites; or it resumes one
                that was made with other settings or data; or another run has the folder.
            DataError: The loss is not finite, the disk or the memory is full, or a worker was lost.
        """
        with owned(self.output_dir, owner=self.accelerator.is_main_process):
            return self._fit()

    def _fit(self) -> nn.Module:
        if self.run.resume:
            self._load_newest()
        elif (saved := self.checkpoints.all()) and not self.run.overwrite:
            raise ConfigurationError(
                f"{self.checkpoints.folder} holds checkpoints up to {saved[-1].name}; give `--resume true` "
                "to go on from there, or `--overwrite true` to discard them."
            )
        self.accelerator.wait_for_everyone()
        if not self.run.resume and self.accelerator.is_main_process:
            shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
            (self.output_dir / "log.jsonl").unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.init_trackers("phenolip", config=_scalars({**vars(self.run), **self.identity}))
        self.objective.train()
        with explained(lambda: self.step, self.run.micro_batch_size):
            if self.run.max_minutes and self.step == 0:
                self.num_steps = self._steps_in_time()
            with on_terminate(self._stop.set), self._progress() as progress:
                self._run_steps(progress)
        if self.accelerator.is_fsdp2:
            restore(self.trained, self.objective)
        # The wrapper goes before the process group does: freed after its gloo threads, it can wait for them for ever.
        self.objective = self.accelerator.unwrap_model(self.trained)
        self.accelerator.free_memory()
        self.accelerator.end_training()
        return self.objective.objective if self.run.micro_batch_size else self.objective

    def _run_steps(self, progress: tqdm) -> None:
        accumulation = self.run.gradient_accumulation_steps
        batches = iter(self._batches(self.step * accumulation, self.num_steps * accumulation))
        started, first_step = time.monotonic(), self.step
        totals: dict[str, torch.Tensor] = {}
        num_summed = 0  # steps in `totals`; a resumed run may start within a logging interval
        for _ in range(self.step, self.num_steps):
            set_learning_rate(self.optimizer, self._learning_rate_factor())
            of_step: dict[str, torch.Tensor] = {}
            for micro_step in range(accumulation):
                for name, value in self._backward(batches, last=micro_step == accumulation - 1).items():
                    of_step[name] = of_step.get(name, 0) + value.detach().float() / accumulation
            if self._update():
                totals = {name: totals.get(name, 0) + value for name, value in of_step.items()}
                num_summed += 1
            self.step += 1
            progress.update()
            if self.step % self.run.log_steps == 0 or self.step == self.num_steps:
                rate = (self.step - first_step) * accumulation * self.plan.batch_size / (time.monotonic() - started)
                if num_summed:
                    self._log({name: float(total) / num_summed for name, total in totals.items()}, rate, progress)
                totals, num_summed = {}, 0
            stop = self._asked_to_stop()
            if stop or (self.run.save_steps and self.step % self.run.save_steps == 0 and self.step < self.num_steps):
                self._check_finite({name: float(total) for name, total in totals.items()})
                self._save()
            if stop:
                raise Preempted

    def _update(self) -> bool:
        """Takes the optimiser's step; False where its gradient is not finite and the run may skip it.

        The norm is that of the averaged gradient: all processes skip, or none.
        """
        norm = None
        if self.accelerator.is_fsdp2:
            average_scalar_gradients(self.objective, self.accelerator)
        if self.run.max_grad_norm:
            norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), self.run.max_grad_norm)
        elif self.run.max_skipped_steps:
            norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), math.inf)
        taken = not (self.run.max_skipped_steps and not math.isfinite(float(norm)))
        if taken:
            self.optimizer.step()
        else:
            self.num_skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.num_skipped > self.run.max_skipped_steps:
            raise DataError(
                f"The gradient was not finite in {self.num_skipped} steps up to step {self.step + 1}, more than "
                f"`max_skipped_steps` {self.run.max_skipped_steps} allows; lower `learning_rate` or look at the data."
            )
        return taken

    def _steps_in_time(self) -> int:
        """Steps that fit into `max_minutes`, at the pace of some batches that are not learnt from; 1 or more.

        Known before the first step, the number fixes the whole schedule: a run with that `max_steps` is the same run.
        Weights, running statistics and random numbers are left as they were; all processes agree.
        """
        started = time.monotonic()
        buffers = [(buffer, buffer.clone()) for buffer in self.objective.buffers()]
        num_batches = NUM_UNTIMED_BATCHES + NUM_TIMED_BATCHES
        device = self.accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            batches = iter(self._batches(0, num_batches))
            for number in range(num_batches):
                if number == NUM_UNTIMED_BATCHES:
                    began = time.monotonic()
                float(self._backward(batches, last=True)["loss"].detach())  # waits for the device
            del batches  # with its workers
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in buffers:
            buffer.copy_(before)
        now = time.monotonic()
        seconds = (now - began) / NUM_TIMED_BATCHES * self.run.gradient_accumulation_steps
        fit = int((60 * self.run.max_minutes - (now - started)) / seconds)
        (num_steps,) = broadcast_object_list([max(1, min(self.num_steps, fit))])
        return num_steps

    def _backward(self, batches: Iterator[dict[str, torch.Tensor]], *, last: bool) -> dict[str, torch.Tensor]:
        """Adds the next batch's gradient; processes synchronise at the last batch of a step only."""
        accumulation = self.run.gradient_accumulation_steps
        if self.run.micro_batch_size:
            return cached_backward(
                self.objective,
                map(self._to_device, batches),
                self.plan.micro_batches_per_batch(self.run.micro_batch_size),
                self.accelerator,
                synchronise=last,
                divisor=accumulation,
            )
        waits = contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective)
        with waits:
            losses = self.objective(self._to_device(next(batches)))  # under the run's precision, once prepared
            self.accelerator.backward(losses["loss"] / accumulation)
        return losses

    def _to_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.accelerator.device, non_blocking=True) for name, tensor in batch.items()}

    def _batches(self, first_batch: int, num_batches: int) -> DataLoader:
        return self.plan.loader(
            self.samples,
            self.collate,
            first_batch=first_batch,
            num_batches=num_batches,
            num_workers=self.run.num_workers,
            micro_batch_size=self.run.micro_batch_size,
        )

    def _learning_rate_factor(self) -> float:
        run = self.run
        if run.schedule == "cosine_restarts":
            period = run.restart_epochs * self.plan.batches_per_epoch / run.gradient_accumulation_steps
            return restarted_factor(
                self.step, max(1, round(period)), run.restart_growth, run.final_learning_rate_fraction
            )
        return learning_rate_factor(self.step, self.num_steps, run.warmup_fraction, run.final_learning_rate_fraction)

    def _progress(self) -> tqdm:
        return tqdm(
            total=self.num_steps,
            initial=self.step,
            desc=self.output_dir.name,
            unit="step",
            disable=not self.accelerator.is_main_process,
            dynamic_ncols=True,
        )

    def _log(self, means: dict[str, float], rows_per_second: float, progress: tqdm) -> None:
        """Writes the means since the last line."""
        self._check_finite(means)
        record = {
            "step": self.step,
            "epoch": round(self.step * self.run.gradient_accumulation_steps / self.plan.batches_per_epoch, 4),
            **{name: round(value, 6) for name, value in means.items()},
            "learning_rate_factor": round(self._learning_rate_factor(), 6),
            "samples_per_second": round(rows_per_second, 2),
            **({"skipped_steps": self.num_skipped} if self.run.max_skipped_steps else {}),
        }
        self.accelerator.log(record, step=self.step)
        if self.accelerator.is_main_process:
            progress.set_postfix(loss=f"{means['loss']:.4f}", samples_per_s=f"{rows_per_second:.1f}")
            self.output_dir.mkdir(parents=True, exist_ok=True)
            with open(self.output_dir / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")

    def _asked_to_stop(self) -> bool:
        """Whether any process was told to stop: all must agree, since saving is collective."""
        stop = torch.tensor(float(self._stop.is_set() or self.step == self.run.stop_after_steps))
        if self.accelerator.num_processes > 1:
            stop = self.accelerator.reduce(stop.to(self.accelerator.device), "sum")
        return bool(stop > 0) and self.step < self.num_steps

    def _check_finite(self, means: dict[str, float]) -> None:
        """Called before lines and checkpoints; nowhere else does the loop wait for the device.

        Raises:
            DataError: A loss is not finite.
        """
        if not all(math.isfinite(value) for value in means.values()):
            raise DataError(
                f"The loss is not finite at step {self.step} ({means}); lower `learning_rate` or set "
                "`mixed_precision: no`. Checkpoints from before it are kept."
            )

    def _save(self) -> None:
        """Writes and publishes step_N; where one process cannot, all end, and the checkpoints before it are kept.

        Raises:
            DataError: The disk is full, or a weight is not finite.
        """
        main = self.accelerator.is_main_process
        partial = self.checkpoints.partial(self.step)
        with self._together(partial):
            if not all(bool(torch.isfinite(tensor).all()) for tensor in self._weights()):
                raise DataError(
                    f"A weight is not finite at step {self.step}; lower `learning_rate`. Checkpoints from before it "
                    "are kept."
                )
            if main:
                self.checkpoints.begin(partial)
        with self._together(partial):
            self._save_state(partial)
        with self._together(partial):
            if main:
                progress = {"step": self.step, "num_steps": self.num_steps, "num_skipped": self.num_skipped}
                progress["num_processes"] = self.accelerator.num_processes
                write_json(partial / "progress.json", {**progress, **self.identity})
                self.checkpoints.publish(partial)

    def _save_state(self, folder: Path) -> None:
        """What `accelerator.save_state` writes for one process, whatever the number and kind of them."""
        keeps, model = self.accelerator.is_main_process, self.accelerator.unwrap_model(self.objective)
        save_accelerator_state(
            str(folder),
            [WholeState(model, keeps=keeps).state_dict()],
            [WholeState(self.optimizer, keeps=keeps)],
            schedulers=[],
            dataloaders=[],
            process_index=self.accelerator.process_index,
            step=self.accelerator.step,
            scaler=self.accelerator.scaler,
        )

    def _load_state(self, folder: Path, saved_by: int) -> None:
        """Tensors and numbers alone are unpickled: weights_only.

        Args:
            folder: Of `_save_state`.
            saved_by: Number of processes; one beyond it goes on with the random numbers of another.
        """
        device = self.accelerator.device
        load_accelerator_state(
            str(folder),
            [WholeState(self.accelerator.unwrap_model(self.objective))],
            [WholeState(self.optimizer)],
            schedulers=[],
            dataloaders=[],
            process_index=self.accelerator.process_index % saved_by,
            scaler=self.accelerator.scaler,
            map_location="cpu" if device.type == "cpu" else "on_device",
        )

    def _weights(self) -> Iterator[torch.Tensor]:
        """Of this process: whole, or its shards."""
        for tensor in (*self.objective.parameters(), *self.objective.buffers()):
            if tensor.is_floating_point():
                yield tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor.detach()

    @contextlib.contextmanager
    def _together(self, partial: Path) -> Iterator[None]:
        """Work of all processes, after which each knows whether one of them failed: none waits for a dead one."""
        failure = None
        try:
            with write_errors(self.checkpoints.folder):
                yield
        except DataError as error:
            failure = error
        failures = [failure and str(failure)]
        if self.accelerator.num_processes > 1:
            failures = gather_object(failures)
        if any(failures):
            if self.accelerator.is_main_process:
                self.checkpoints.discard(partial)
            raise failure or DataError(next(filter(None, failures)))

    def _load_newest(self) -> None:
        """Goes on from the newest checkpoint that is whole, or from the start where there is none."""
        found = [self.checkpoints.newest() if self.accelerator.is_main_process else None]
        (newest,) = broadcast_object_list(found)
        if newest is not None:
            progress = json.loads((newest / "progress.json").read_text(encoding="utf-8"))
            of_old_ones = {"max_minutes": 0.0, "planned_steps": progress["num_steps"], **LATER_FIXED_SETTINGS}
            progress = of_old_ones | progress
            changed = [name for name, value in self.identity.items() if progress.get(name) != _plain(value)]
            if changed:
                raise ConfigurationError(
                    f"{newest} was made with another {', '.join(changed)}; use the same settings and data, "
                    "or another `output_dir`."
                )
            self._load_state(newest, progress["num_processes"])
            self.step, self.num_steps = progress["step"], progress["num_steps"]
            self.num_skipped = progress.get("num_skipped", 0)
        self._trim_log()

    def _trim_log(self) -> None:
        """Drops log lines past the checkpoint, which the resumed run writes again, and one that a kill cut off."""
        path = self.output_dir / "log.jsonl"
        if self.accelerator.is_main_process and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if (step := _step_of(line)) is not None and step <= self.step]
            with whole_file(path, "w") as file:
                file.write("".join(line + "\n" for line in kept))


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def _check_cached(objective: nn.Module) -> None:
    name = type(objective).__name__
    if not hasattr(objective, "encode"):
        raise ConfigurationError(f"`micro_batch_size` must be 0 where the loss is no loss of embeddings, got {name}.")


def _scalars(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: nested ones flattened, lists as text."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _scalars(value)
        else:
            flat[name] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, so that a saved and a fresh one compare equal."""
    return json.loads(json.dumps(value, default=str))
