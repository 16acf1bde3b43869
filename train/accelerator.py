"""What a run computes on and in: device, processes, threads, precision, memory, trackers, seed."""

import ctypes
import os
import platform
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, LoggerType, set_seed

from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.train.arguments import RunArguments
from phenolip.train.sharding import sharding_plugin, use_sharding

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def build_accelerator(run: RunArguments) -> Accelerator:
    """Accelerator with the run's precision, threads, seed and trackers."""
    _set_num_threads(run.num_threads)
    keep_freed_memory()
    asked_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    on_cpu = asked_for_cpu or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if on_cpu and run.mixed_precision == "fp16":
        raise ConfigurationError("`mixed_precision` must be auto, no or bf16 on a CPU, got 'fp16'.")
    known = {str(tracker) for tracker in LoggerType}
    for name in run.report_to:
        if name not in known:
            raise ConfigurationError(f"Unknown tracker '{name}' in `report_to`.{near_matches(name, known)}")
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise ConfigurationError(
            "`--use_deepspeed` must be left out, since DeepSpeed steps inside each backward pass: "
            "train/launch/fsdp2.yaml shards as much."
        )
    precision = native_precision(run.mixed_precision, on_cpu=on_cpu)
    in_shards = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    plugin = sharding_plugin(precision) if in_shards else None
    accelerator = Accelerator(
        cpu=on_cpu or None,
        mixed_precision=precision,
        fsdp_plugin=plugin,
        log_with=run.report_to or None,
        project_dir=run.output_dir,
        # One process reads the data, measures and encodes while the others wait.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))],
    )
    if plugin is not None:
        use_sharding(accelerator, plugin)
    missing = {name for name in run.report_to if name not in {str(tracker) for tracker in accelerator.log_with}}
    if missing:
        raise ConfigurationError(
            f"`report_to` must name installed trackers, got {sorted(missing)}; install them with pip."
        )
    set_seed(run.seed)
    if run.deterministic:
        _use_deterministic_algorithms()
    return accelerator


def _set_num_threads(num_threads: int) -> None:
    """All cores, shared by the processes of this machine: accelerate's launcher would leave one thread."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(num_threads or max(1, cores // processes))


def _use_deterministic_algorithms() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def keep_freed_memory() -> None:
    """Tells glibc to reuse the memory of large tensors instead of handing it back to the system after each layer.

    Else every activation of a convolutional tower is mapped, zeroed and unmapped anew: a fifth to a third of a step on
    a CPU, two thirds where two processes train side by side. Other C libraries have no such switch and need none.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_MMAP_MAX, 0)


def native_precision(choice: str, *, on_cpu: bool) -> str:
    """Resolves "auto": bf16 where the hardware multiplies it natively, else "no".

    That is CUDA from Ampere on, and CPUs with AMX or AVX-512 BF16: on two cores of an AMD EPYC of the latter kind a
    step of MiniLM took 0.61 to 0.64 of the time of float32, one of EfficientNet-Lite0 0.63 to 0.69.
    """
    if choice != "auto":
        return choice
    if not on_cpu:
        has_cuda = torch.cuda.is_available()
        return "bf16" if has_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "no"
