"""Large contrastive batches in the memory of small ones: embeddings first, their gradient, then each part again."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

Batch = dict[str, torch.Tensor]
# Kinds of training in which no process waits for a gradient of every weight.
WAITS_FOR_NONE = (DistributedType.NO, DistributedType.FSDP)


class EmbeddingObjective(Protocol):
    """An objective in two halves, `forward(batch)` being `losses(encode(batch), batch)`.

    Attributes:
        row_entries: Entries of a batch, one row each, that `losses` reads.
    """

    row_entries: tuple[str, ...]

    def encode(self, batch: Batch) -> Batch:
        """Embeddings of rows, first dimension, none of which depends on another row."""

    def losses(self, embeds: Batch, batch: Batch) -> Batch:
        """Scalars, "loss" among them."""


class CachedObjective(nn.Module):
    """Either half of an objective behind one `forward`, since that is what precision and parallel wrappers wrap.

    Args:
        objective: An `EmbeddingObjective`.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch, *, embeds: Batch | None = None, reach_all: bool = False) -> Batch:
        """Embeddings of `batch`, or the losses of `embeds`.

        With `reach_all` every trainable weight gets a gradient, 0 where the embeddings do not depend on it: a parallel
        wrapper waits for all of them, and those of the losses have had theirs before.
        """
        if embeds is not None:
            return self.objective.losses(embeds, batch)
        made = self.objective.encode(batch)
        if reach_all:
            weights = [weight for weight in self.parameters() if weight.requires_grad]
            made = {name: _Reach.apply(tensor, *weights) for name, tensor in made.items()}
        return made


class _Reach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embeds: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        ctx.weights = weights
        return embeds.view_as(embeds)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return gradient, *(weight.new_zeros(()).expand_as(weight) for weight in ctx.weights)


def cached_backward(
    wrapped: nn.Module,
    micro_batches: Iterator[Batch],
    num_micro_batches: int,
    accelerator: Accelerator,
    *,
    synchronise: bool,
    divisor: int,
) -> Batch:
    """Adds the gradient of the loss of all micro-batches together, with the graph of one of them at a time.

    The loss is that of one batch of all their rows, its gradient exact: weights that only the losses use, such as a
    temperature or a projection to the teacher, get theirs once, from the losses. Random numbers are replayed, so that
    dropout is the same in both passes. Costs one forward pass without a graph more than a batch of the same rows.

    Args:
        wrapped: A prepared `CachedObjective`.
        micro_batches: Gives the micro-batches in order, and then the same once more; only one is held.
        num_micro_batches: How many there are.
        accelerator: That prepared it.
        synchronise: Processes exchange gradients, in the last micro-batch's backward pass; else not at all.
        divisor: Of the loss, before its gradient is taken.

    Returns:
        What the objective's `losses` gives.

    Source: Gao et al. 2021, arXiv 2101.06983. Deviations: gradients of the losses' own weights, and one exchange.
    """
    objective = accelerator.unwrap_model(wrapped).objective
    states, embeds, entries = [], [], []
    with accelerator.no_sync(wrapped):
        for batch in islice(micro_batches, num_micro_batches):
            states.append(_random_state(accelerator.device))
            with torch.no_grad():
                embeds.append(wrapped(batch))
            entries.append({name: batch[name] for name in objective.row_entries if name in batch})
        whole = {name: tensor.requires_grad_() for name, tensor in _concatenated(embeds).items()}
        losses = wrapped({**batch, **_concatenated(entries)}, embeds=whole)
        accelerator.backward(losses["loss"] / divisor)
    gradients = _gradients(whole, [len(next(iter(made.values()))) for made in embeds])
    after = _random_state(accelerator.device)
    for place, batch in enumerate(islice(micro_batches, num_micro_batches)):
        exchanges = synchronise and place == num_micro_batches - 1
        with contextlib.nullcontext() if exchanges else accelerator.no_sync(wrapped):
            _set_random_state(accelerator.device, states[place])
            made = wrapped(batch, reach_all=exchanges and accelerator.distributed_type not in WAITS_FOR_NONE)
            trained = [name for name, tensor in made.items() if tensor.requires_grad]
            # The gradient carries the scale of fp16 already, and the divisor.
            torch.autograd.backward([made[name] for name in trained], [gradients[place][name] for name in trained])
    _set_random_state(accelerator.device, after)
    return losses


def _concatenated(parts: list[Batch]) -> Batch:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _gradients(embeds: Batch, sizes: list[int]) -> list[Batch]:
    """Of each micro-batch's embeddings; zeros for those that no loss looks at."""
    of_all = {
        name: torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for name, tensor in embeds.items()
    }
    split = {name: gradient.split(sizes) for name, gradient in of_all.items()}
    return [{name: parts[place] for name, parts in split.items()} for place in range(len(sizes))]


def _random_state(device: torch.device) -> list[torch.Tensor]:
    """Of the CPU's generator and of the device's."""
    on_device = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state()]
    return [torch.get_rng_state(), *on_device]


def _set_random_state(device: torch.device, state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    for on_device in state[1:]:
        torch.get_device_module(device).set_rng_state(on_device)
