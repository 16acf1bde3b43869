"""Training in shards (FSDP2): which layers are gathered together, which weights stay whole, and whole states again.

Accelerate does the sharding; here is what it does not know of a contrastive objective. A checkpoint is written from
gathered states, so that it is the same files as that of one process, and any number of processes goes on from it.
"""

import copy
import functools
import os
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, convert_outputs_to_fp32, str_to_bool
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from phenolip.exceptions import ConfigurationError

WRAP_POLICIES = ("TRANSFORMER_BASED_WRAP", "NO_WRAP")
MUST_BE_FALSE = {
    "CPU_RAM_EFFICIENT_LOADING": "every process reads the weights",
    "OFFLOAD_PARAMS": "temperatures stay on the device",
    "ACTIVATION_CHECKPOINTING": "give the run `gradient_checkpointing: true`",
}


def sharding_plugin(precision: str) -> FullyShardedDataParallelPlugin:
    """Accelerate's settings of FSDP, from what its launcher left in the environment.

    Args:
        precision: The run's, resolved.

    Raises:
        ConfigurationError: They are not those of FSDP2, or such as would not train the weights of one process.
    """
    asked = os.environ.get
    if (version := asked("FSDP_VERSION", "1")) != "2":
        raise ConfigurationError(f"`fsdp_version` must be 2, got {version}: see train/launch/fsdp2.yaml.")
    if (policy := asked("FSDP_AUTO_WRAP_POLICY", "NO_WRAP")) not in WRAP_POLICIES:
        raise ConfigurationError(f"`fsdp_auto_wrap_policy` must be {' or '.join(WRAP_POLICIES)}, got {policy!r}.")
    for name, reason in MUST_BE_FALSE.items():
        if str_to_bool(asked(f"FSDP_{name}", "false")):
            raise ConfigurationError(f"`fsdp_{name.lower()}` must be false: {reason}.")
    if precision == "fp16":
        raise ConfigurationError("`mixed_precision` must be auto, no or bf16 under FSDP2, got 'fp16'.")
    return FullyShardedDataParallelPlugin()


def use_sharding(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Has several processes train in shards, on a CPU too, where Accelerate alone would leave the plugin unread."""
    if accelerator.num_processes > 1:
        # Read back from either state by whatever asks for one.
        PartialState().distributed_type = accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin
        # Weights are kept and exchanged in float32, and products cast as under DDP, by autocast.
        plugin.mixed_precision_policy = None


def shardable(objective: nn.Module, accelerator: Accelerator) -> nn.Module:
    """A copy of the objective to be handed to `accelerator.prepare`; it takes the weights with it.

    FSDP2 changes classes and hooks of what it shards and has no way back. The objective itself stays as it is, without
    weights until `restore` brings them: whoever holds it, or a part of it, has the trained one then.

    Layers of the towers (transformers' GradientCheckpointingLayer) are gathered one by one. All else is gathered for
    the whole step, with the layers of modules in the objective's `read_unevenly`: processes that call these a
    different number of times would wait for each other. Scalars, which FSDP2 refuses, stay whole everywhere.

    Raises:
        ConfigurationError: A part of it is compiled.
    """
    if any(module._compiled_call_impl is not None for module in objective.modules()):
        raise ConfigurationError("`torch_compile` must be no under FSDP2.")
    objective.to(accelerator.device)
    memo = {
        id(weight): nn.Parameter(weight.data.contiguous(), weight.requires_grad)  # FSDP2 takes no channels_last
        for weight in objective.parameters()
    }
    for module in objective.modules():
        for frozen in getattr(module, "_teacher", ()):
            memo[id(frozen)] = frozen  # read alone: one of it is enough
    copied = copy.deepcopy(objective, memo)
    for weight in objective.parameters():
        weight.data = weight.data.new_empty(0)
    plugin = accelerator.state.fsdp_plugin
    plugin.ignored_modules = [nn.ParameterList(scalars(copied))]
    plugin.transformer_cls_names_to_wrap = _layer_names(copied)
    copied.forward = _in_precision(copied.forward, accelerator)
    return copied


def _layer_names(objective: nn.Module) -> list[str]:
    """Classes of layers that are gathered one by one."""
    uneven = {layer for part in getattr(objective, "read_unevenly", ()) for layer in part.modules()}
    layers = [layer for layer in objective.modules() if isinstance(layer, GradientCheckpointingLayer)]
    left_out = {type(layer) for layer in layers if layer in uneven}
    return sorted({type(layer).__name__ for layer in layers if type(layer) not in left_out})


def _in_precision(forward: Callable[..., Any], accelerator: Accelerator) -> Callable[..., Any]:
    """What `accelerator.prepare` does to a forward pass in every other kind of training."""

    @functools.wraps(forward)
    def cast(*args: Any, **kwargs: Any) -> Any:
        with accelerator.autocast():
            return forward(*args, **kwargs)

    return convert_outputs_to_fp32(cast)


def scalars(objective: nn.Module) -> list[nn.Parameter]:
    """Weights without a dimension: temperatures and biases of similarities."""
    return [weight for weight in objective.parameters() if weight.ndim == 0]


def average_scalar_gradients(objective: nn.Module, accelerator: Accelerator) -> None:
    """Mean over processes of the gradients that FSDP2 leaves alone: once a step, before they are clipped."""
    held = [weight for weight in scalars(objective) if weight.grad is not None]
    if held:
        means = accelerator.reduce(torch.stack([weight.grad for weight in held]), "mean")
        for weight, mean in zip(held, means, strict=True):
            weight.grad.copy_(mean)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of which this process has a shard, or any other as it is; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def restore(objective: nn.Module, trained: nn.Module) -> None:
    """Gives the objective that `shardable` copied the weights and buffers of the trained copy, whole."""
    weights = dict(trained.named_parameters())
    for name, weight in objective.named_parameters():
        weight.data = whole(weights[name]).detach().clone()
    buffers = dict(trained.named_buffers())
    for name, buffer in objective.named_buffers():
        buffer.copy_(buffers[name])


class WholeState:
    """A module or an optimiser whose state is read and written whole, whether it is in shards or not.

    All processes must call either method.

    Args:
        held: With `state_dict` and `load_state_dict`.
        keeps: Whether this process keeps what it has read; the others help it and give an empty state.
    """

    def __init__(self, held: nn.Module | torch.optim.Optimizer, *, keeps: bool = True) -> None:
        self.held, self.keeps = held, keeps

    def state_dict(self) -> dict[str, Any]:
        """Of whole tensors, on the CPU where they were in shards; a module's are contiguous and each its own."""
        state = _mapped(self.held.state_dict(), self._gathered)
        return _unshared(state) if isinstance(self.held, nn.Module) else state

    def load_state_dict(self, state: dict[str, Any], **kwargs: Any) -> Any:
        """From whole tensors; names may begin with "module.", as those of earlier checkpoints do."""
        if isinstance(self.held, nn.Module):
            own = self.held.state_dict()
            state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
            state = {name: _like(tensor, own.get(name)) for name, tensor in state.items()}
        else:
            weights = [weight for group in self.held.param_groups for weight in group["params"]]
            of_weights = {
                place: {
                    name: _like(value, weights[place]) if name != "step" else value for name, value in entries.items()
                }
                for place, entries in state["state"].items()
            }
            state = {**state, "state": of_weights}
        return self.held.load_state_dict(state, **kwargs)

    def _gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, DTensor):
            return tensor.contiguous() if isinstance(self.held, nn.Module) else tensor
        gathered = tensor.full_tensor()
        # A gathered tensor may lie in a longer storage, which safetensors refuses.
        return gathered.to("cpu", copy=True) if self.keeps else gathered.new_empty(0)


def _mapped(state: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The nested state with each tensor changed."""
    if isinstance(state, torch.Tensor):
        return change(state)
    if isinstance(state, dict):
        return {name: _mapped(value, change) for name, value in state.items()}
    return [_mapped(value, change) for value in state] if isinstance(state, list) else state


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state with a copy of every weight that stands under a second name, which safetensors refuses."""
    seen: set[int] = set()
    unshared = {}
    for name, tensor in state.items():
        unshared[name] = tensor.clone() if tensor.numel() and tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return unshared


def _like(tensor: torch.Tensor, example: torch.Tensor | None) -> torch.Tensor:
    """The tensor laid out in memory as the example, or this process's shard of it where the example is in shards.

    A fused optimiser reads a weight and its moments in the order in which they lie.
    """
    if example is None or tensor.shape != example.shape:
        return tensor
    if not isinstance(example, DTensor):
        return torch.empty_like(example).copy_(tensor)
    return distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements)
