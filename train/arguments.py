"""Settings of the training scripts: dataclasses, and one parser: YAML first, the command line wins."""

import argparse
import dataclasses
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import HfArgumentParser

from phenolip.command_line import fold_flag
from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.plain_yaml import read_yaml


def setting(default: Any = dataclasses.MISSING, *, help: str) -> Any:
    """A dataclass field with its help text; without a default it is required."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


def require(condition: bool, name: str, allowed: str, value: Any) -> None:
    """Raises the one-sentence error of a setting that is out of range."""
    if not condition:
        raise ConfigurationError(f"`{name}` must be {allowed}, got {value!r}.")


@dataclass
class RunArguments:
    """What a run does however the model and the loss look: steps, optimiser, checkpoints, logs."""

    output_dir: str = setting(help="Folder for the model, its checkpoints and logs.")
    seed: int = setting(0, help="Seed of initialisation, sampling and augmentation.")
    num_epochs: int = setting(1, help="Passes over the data; `max_steps` above 0 overrides it.")
    max_steps: int = setting(-1, help="Optimiser steps in all; -1 follows `num_epochs`.")
    max_minutes: float = setting(
        0.0,
        help="Time for the steps on this machine: some batches are timed first, and as many steps are taken as fit, "
        "but no more than above. 0 sets no limit. `max_steps` repeats the run by the number in run.json.",
    )
    batch_size: int = setting(64, help="Rows whose contrastive loss is computed together, over all processes.")
    micro_batch_size: int = setting(
        0,
        help="Rows that a process encodes at a time: a large `batch_size` then takes the memory of so few rows, and a "
        "forward pass more (gradient caching, exact). Samples are read twice. 0 encodes a batch at once.",
    )
    gradient_accumulation_steps: int = setting(1, help="Batches per optimiser step.")
    learning_rate: float = setting(1e-5, help="Peak learning rate of pretrained weights.")
    head_learning_rate: float = setting(1e-4, help="Peak learning rate of new layers (projections, scales).")
    optimizer: Literal["adamw", "sgd"] = setting("adamw", help="AdamW, or stochastic gradient descent.")
    momentum: float = setting(0.0, help="Of `optimizer: sgd`.")
    weight_decay: float = setting(0.2, help="Weight decay; none on biases, norms and scales.")
    adam_beta1: float = setting(0.9, help="AdamW beta1.")
    adam_beta2: float = setting(0.98, help="AdamW beta2.")
    warmup_fraction: float = setting(0.05, help="Share of the steps over which the learning rate rises from 0.")
    final_learning_rate_fraction: float = setting(0.01, help="Learning rate at the end of the cosine, as a share.")
    schedule: Literal["cosine", "cosine_restarts"] = setting(
        "cosine", help="Half a cosine over the run, or one for each period of `restart_epochs`, anew from the peak."
    )
    restart_epochs: float = setting(2.0, help="First period of `schedule: cosine_restarts`, in epochs.")
    restart_growth: int = setting(1, help="Each further period is so many times as long as the one before.")
    max_grad_norm: float = setting(1.0, help="Gradients are clipped to this 2-norm; 0 switches clipping off.")
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting(
        "auto", help="auto = bf16 where the hardware multiplies it natively, else float32."
    )
    num_workers: int = setting(0, help="Processes that decode images beside each training process.")
    deterministic: bool = setting(
        False,
        help="Only algorithms that give the same bits each time; a GPU needs it and is slower with it.",
    )
    max_skipped_steps: int = setting(
        0, help="Steps whose gradient is not finite that are left out before the run ends; 0 ends it at the first."
    )
    save_steps: int = setting(200, help="Optimiser steps between checkpoints; 0 saves only when asked to stop.")
    save_total_limit: int = setting(2, help="Checkpoints kept; older ones are removed.")
    resume: bool = setting(False, help="Go on from the newest checkpoint in `output_dir`, if there is one.")
    overwrite: bool = setting(False, help="Discard the checkpoints in `output_dir` and begin anew.")
    stop_after_steps: int = setting(-1, help="Save and stop (exit code 75) after this many steps in all; -1 never.")
    log_steps: int = setting(10, help="Optimiser steps between lines of log.jsonl and tracker records.")
    report_to: list[str] = setting([], help="Trackers that Accelerate knows: tensorboard, trackio, wandb, ...")
    num_threads: int = setting(0, help="CPU threads of each process; 0 shares all cores.")
    debug: bool = setting(False, help="Show the traceback of a failure (on the command line only).")

    def __post_init__(self) -> None:
        require(
            self.num_epochs > 0 or self.max_steps > 0, "num_epochs", "above 0 unless `max_steps` is", self.num_epochs
        )
        require(self.batch_size >= 2, "batch_size", "2 or more", self.batch_size)
        require(0 <= self.seed < 2**32, "seed", "0 or above and below 2**32", self.seed)
        for name in ("gradient_accumulation_steps", "log_steps", "save_total_limit"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("learning_rate", "head_learning_rate", "weight_decay", "max_grad_norm"):
            require(getattr(self, name) >= 0, name, "0 or above", getattr(self, name))
        require(0 <= self.max_minutes < math.inf, "max_minutes", "0 or above and finite", self.max_minutes)
        for name in ("warmup_fraction", "final_learning_rate_fraction"):
            require(0 <= getattr(self, name) <= 1, name, "between 0 and 1", getattr(self, name))
        require(self.restart_epochs > 0, "restart_epochs", "above 0", self.restart_epochs)
        require(self.restart_growth >= 1, "restart_growth", "1 or above", self.restart_growth)
        for name in ("adam_beta1", "adam_beta2", "momentum"):
            require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1", getattr(self, name))
        for name in ("micro_batch_size", "num_workers", "max_skipped_steps", "save_steps", "num_threads"):
            require(getattr(self, name) >= 0, name, "0 or above", getattr(self, name))


class _OneSentenceParser(HfArgumentParser):
    """Raises ConfigurationError where argparse would print usage and leave."""

    source = "the command line"

    def error(self, message: str) -> None:
        raise ConfigurationError(f"{message[:1].upper()}{message[1:]} (from {self.source}).")


def _yaml_tokens(path: Path, known: set[str]) -> list[str]:
    try:
        loaded = read_yaml(path)
    except FileNotFoundError:
        raise ConfigurationError(f"`--config` must name a YAML file, and {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path} cannot be read as YAML: {reason}.") from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{path} must hold `field: value` lines, got {type(loaded).__name__}.")
    tokens = []
    for key, value in loaded.items():
        if key not in known:
            raise ConfigurationError(f"{path} has the unknown key '{key}'.{near_matches(str(key), known)}")
        if value is None:
            continue
        if isinstance(value, dict):
            raise ConfigurationError(f"{path}: '{key}' must be a value or a list of values, got a mapping.")
        if isinstance(value, list):
            tokens += [f"--{key}", *map(str, value)] if value else []
        else:
            tokens.append(f"--{key}={value}")
    return tokens


def parse(dataclass_types: tuple[type, ...], argv: list[str] | None = None, *, description: str) -> tuple[Any, ...]:
    """Parses `--config FILE` and `--field value` into the given dataclasses; the command line wins over the file.

    Args:
        dataclass_types: One dataclass per group of settings, in the order of the result.
        argv: Arguments without the program name; None takes those of the process.
        description: First lines of `--help`.

    Returns:
        One instance per dataclass.

    Raises:
        ConfigurationError: Unknown key, wrong type, value out of range or missing field, naming file and field.
    """
    argv = [fold_flag(token) for token in (sys.argv[1:] if argv is None else argv)]
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    config_path = early.parse_known_args(argv)[0].config

    parser = _OneSentenceParser(dataclass_types, description=description, allow_abbrev=False)
    parser.add_argument("--config", help="YAML file of `field: value` lines; the command line wins over it.")
    known = {f.name for kind in dataclass_types for f in dataclasses.fields(kind)}
    tokens = _yaml_tokens(config_path, known) if config_path else []
    if config_path and not any(token in ("-h", "--help") for token in argv):
        _check_file_alone(parser, tokens, config_path)
        parser.source = f"{config_path} and the command line"
    given = {token.split("=")[0] for token in argv if token.startswith("--")}
    unknown = given - {f"--{name}" for name in known} - {f"--no_{name}" for name in known} - {"--config", "--help"}
    if unknown:
        name = min(unknown)[2:]
        raise ConfigurationError(f"Unknown argument '--{name}'.{near_matches(name, known)}")
    *parsed, rest = parser.parse_args_into_dataclasses(
        args=tokens + argv, return_remaining_strings=True, look_for_args_file=False
    )
    if rest:
        raise ConfigurationError(f"Unexpected argument '{rest[0]}'; quote values that hold spaces.")
    return tuple(parsed[: len(dataclass_types)])


def _check_file_alone(parser: _OneSentenceParser, tokens: list[str], path: Path) -> None:
    """Types of the file's values, so that an error names the file; required fields may still come later."""
    parser.source = str(path)
    required = [action for action in parser._actions if action.required]
    for action in required:
        action.required = False
    parser.parse_known_args(tokens)
    for action in required:
        action.required = True
