"""Groups of parameters and the learning rate as a function of the step."""

import math

import torch
from torch import nn

from phenolip.train.arguments import RunArguments


def build_optimizer(objective: nn.Module, run: RunArguments) -> torch.optim.Optimizer:
    """AdamW or SGD with two learning rates (pretrained tower, new layers) and no decay on biases, norms and scales.

    A parameter belongs to a pretrained tower when ".tower." or ".backbone." is in its name and it is no adapter's
    ("lora_"); a group keeps its peak learning rate under "peak".
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            is_pretrained = (".tower." in name or ".backbone." in name) and "lora_" not in name
            groups.setdefault((is_pretrained, parameter.ndim >= 2), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "peak": run.learning_rate if pretrained else run.head_learning_rate,
            "weight_decay": run.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), parameters in groups.items()
    ]
    if run.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=run.head_learning_rate, momentum=run.momentum)
    betas = (run.adam_beta1, run.adam_beta2)
    return torch.optim.AdamW(settings, lr=run.head_learning_rate, betas=betas, fused=True)


def learning_rate_factor(step: int, num_steps: int, warmup_fraction: float, final_fraction: float) -> float:
    """Share of the peak at optimiser step `step` (from 0): linear warm-up, then half a cosine to `final_fraction`.

    Example:
        >>> [round(learning_rate_factor(step, 10, 0.2, 0.0), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup_steps = round(warmup_fraction * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def restarted_factor(step: int, first_period: int, growth: int, final_fraction: float) -> float:
    """Share of the peak at optimiser step `step` (from 0): half cosines to `final_fraction`, each anew from the peak.

    Args:
        step: Counted over the run.
        first_period: Steps of the first cosine, 1 or more.
        growth: Each further cosine has so many times as many steps as the one before.
        final_fraction: Where a cosine would end; its last step is just above.

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, without warm-up.

    Example:
        >>> [round(restarted_factor(step, 2, 2, 0.0), 2) for step in range(7)]
        [1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]
    """
    period = first_period
    if growth == 1:
        step %= period
    while step >= period:
        step, period = step - period, period * growth
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * step / period)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's learning rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
