"""Rows of all processes in rank order, with or without gradient: the one place where losses meet torch.distributed."""

import torch
import torch.distributed
import torch.distributed.nn.functional


def world_size() -> int:
    """Number of training processes; 1 outside torch.distributed."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def rank() -> int:
    """Index of this process; 0 outside torch.distributed."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def gather_embeds(embeds: torch.Tensor) -> torch.Tensor:
    """Concatenates equal-sized shards in rank order and lets gradients flow back to each owner.

    Backward sums the gradients of all processes. A loss that each process averages over its own rows, gathered this
    way and averaged by DistributedDataParallel, has exactly the gradient of the same loss on the whole batch.

    Shapes: embeds (n, D) on each of W processes; returns (W * n, D).
    """
    if world_size() == 1:
        return embeds
    return torch.cat(torch.distributed.nn.functional.all_gather(embeds.contiguous()), dim=0)


def gather_ids(ids: torch.Tensor) -> torch.Tensor:
    """Concatenates equal-sized integer shards in rank order; no gradient.

    Shapes: ids (n, ...) on each of W processes; returns (W * n, ...).
    """
    if world_size() == 1:
        return ids
    shards = [torch.empty_like(ids) for _ in range(world_size())]
    torch.distributed.all_gather(shards, ids.contiguous())
    return torch.cat(shards, dim=0)


def global_sum(value: torch.Tensor) -> torch.Tensor:
    """Sum of a detached tensor over the processes."""
    if world_size() == 1:
        return value.detach()
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total
