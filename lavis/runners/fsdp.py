"""run.parallel=fsdp: fully sharded data parallelism (torch's `fully_shard`; Zhao et al., arXiv 2304.11277).

Each process stores a part of every parameter, of its gradient and of the optimiser's state; the whole parameters of a
block exist only while it is computed. Checkpoints contain whole tensors, like those of any other run.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.seed import random_states, restore_random_states
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig

OLDEST = (2, 7)  # release of torch; 2.6 has no ignored_params, and its fully_shard fails on a CPU


def check_parallel(run: RunConfig, model: type[BaseModel] | BaseModel) -> None:
    """Raises ConfigError if run.parallel=fsdp is impossible.

    It is with an old torch, on some backbones, and for fp16 with its scaled losses.
    """
    if run.parallel != "fsdp":
        return
    if distributed.TORCH < OLDEST:
        needed, found = ".".join(map(str, OLDEST)), torch.__version__
        raise ConfigError(
            f"run.parallel=fsdp needs torch {needed} or newer, and {found} is installed; use run.parallel=ddp"
        )
    if not model.shards:
        raise ConfigError(f"run.parallel=fsdp does not support backbone '{model.family}'; use run.parallel=ddp")
    if run.amp and run.amp_dtype == "fp16":
        raise ConfigError("run.parallel=fsdp does not support fp16; use run.amp_dtype=bf16 or run.amp=false")


def shard(network: nn.Module, model: BaseModel, device: torch.device) -> nn.Module:
    """Divide the parameters of `network`, which contains `model`, among all processes, in place; returns it.

    Each block of the towers is gathered on its own, everything else at once. Single numbers (the temperature) stay
    whole, because FSDP does not divide scalars; see `average_whole`.
    """
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    numbers = {parameter for parameter in model.parameters() if parameter.ndim == 0}
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh, ignored_params=numbers)
    return network


def blocks(model: nn.Module) -> list[nn.Module]:
    """The members of the outermost ModuleLists: the layers of the towers."""
    layers: list[nn.Module] = []
    for part in model.children():
        layers += list(part) if isinstance(part, nn.ModuleList) else blocks(part)
    return layers


def is_sharded(network: nn.Module) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in network.parameters())


@contextlib.contextmanager
def without_reduction(network: nn.Module) -> Iterator[None]:
    """Backward passes in here only accumulate gradients; the next one outside reduces them across processes."""
    assert isinstance(network, FSDPModule)
    network.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        network.set_requires_gradient_sync(True)


def whole(tree: Any, keep: bool = True) -> Any:
    """Nested containers with every sharded tensor whole, on the CPU; other values stay. All processes must call it.

    keep=False: this process contributes its parts and gets empty tensors.
    """
    if isinstance(tree, DTensor):
        full = tree.full_tensor()
        return full.cpu() if keep else full.new_empty(0)
    if isinstance(tree, dict):
        return {key: whole(value, keep) for key, value in tree.items()}
    return [whole(value, keep) for value in tree] if isinstance(tree, list) else tree


@torch.no_grad()
def put(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into `target`, of which this process may have only a part."""
    target.copy_(_alike(value, target) if isinstance(target, DTensor) else value)


def gathered(model: BaseModel, build: Callable[[], BaseModel]) -> BaseModel:
    """The model, or a complete copy, made by `build`, if this process has only a part of it."""
    if not is_sharded(model):
        return model
    before = random_states()  # building a model draws
    copied, state = build(), whole(model.checkpoint_state())
    restore_random_states(before)
    for name, tensor in copied.checkpoint_state().items():
        put(tensor, state[name])
    return copied


def cut_states(optimizer: torch.optim.Optimizer) -> None:
    """Divide optimiser states that were loaded whole in the same way as their parameters."""
    for parameter, state in optimizer.state.items():
        if isinstance(parameter, DTensor):
            for name, value in state.items():
                if value.shape == parameter.shape:
                    state[name] = _alike(value, parameter)


def _alike(value: torch.Tensor, model: DTensor) -> DTensor:
    value = value.to(model.device, model.dtype)
    return distribute_tensor(value, model.device_mesh, model.placements)


def average_whole(parameters: Iterable[nn.Parameter]) -> None:
    """Average over the processes the gradients that FSDP has not reduced."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= distributed.world_size()


def total_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm over all gradients, scalar; they may be a mix of sharded and whole tensors."""
    kinds = [[g for g in gradients if isinstance(g, DTensor) is sharded] for sharded in (False, True)]
    norms = [nn.utils.get_total_norm(part) for part in kinds if part]
    full = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    return full[0] if len(full) == 1 else torch.linalg.vector_norm(torch.stack(full)) if full else torch.tensor(0.0)


def clip(parameters: list[nn.Parameter], most: float, norm: torch.Tensor) -> None:
    """Scale gradients so that their norm, now `norm`, is at most `most`."""
    for sharded in (False, True):
        part = [p for p in parameters if isinstance(p, DTensor) is sharded]
        if part:
            nn.utils.clip_grads_with_norm_(part, most, norm)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the optimiser's states in this process."""
    states = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    local = [value.to_local() if isinstance(value, DTensor) else value for value in states]
    return sum(math.prod(value.shape) * value.element_size() for value in local)
