"""The whole batch on every process: the one place where training meets torch.distributed."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed


def world_size() -> int:
    """Number of training processes; 1 outside torch.distributed."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def own_rows(num_rows: int) -> slice:
    """Which of `num_rows` gathered rows are this process's own."""
    share = num_rows // world_size()
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    return slice(rank * share, (rank + 1) * share)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.factor, None


def through_own_rows(layer: Callable[[torch.Tensor], torch.Tensor], gathered: torch.Tensor) -> torch.Tensor:
    """layer(gathered), for a loss whose gradient has this process's own rows alone.

    Weights of the layer then have a part of their gradient on each process: it is multiplied by the number of
    processes, so that the mean over them is exact; that of `gathered` stays as it is.
    """
    processes = world_size()
    if processes == 1:
        return layer(gathered)
    return _ScaledGradient.apply(layer(_ScaledGradient.apply(gathered, 1 / processes)), processes)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:
        shards = [torch.empty_like(local) for _ in range(world_size())]
        torch.distributed.all_gather(shards, local.contiguous())
        return torch.cat(shards)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        own_rows = gradient.tensor_split(world_size())[torch.distributed.get_rank()]
        return own_rows * world_size()


def gather_rows(local: torch.Tensor) -> torch.Tensor:
    """Concatenates equal-sized shards in rank order; gradients flow to this process's own rows.

    Meant for a loss that every process computes on the whole batch. Its gradient for a process's own rows is returned
    times the number of processes, so that the mean that DistributedDataParallel takes is exactly the gradient of the
    whole batch; parameters used after the gathering, such as a temperature, get theirs from every process alike. The
    backward pass needs no communication, which could otherwise meet that of DistributedDataParallel out of order.

    Shapes: local (n, ...) on each of W processes; returns (W * n, ...).
    """
    if world_size() == 1:
        return local
    if local.dtype == torch.bool:
        return _GatherRows.apply(local.to(torch.uint8)).bool()
    return _GatherRows.apply(local)
