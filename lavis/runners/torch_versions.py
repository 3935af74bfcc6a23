"""What torch 2.6 named or added, also for torch 2.4 and 2.5: sharded modules and tensors, and norms over gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

try:
    from torch.distributed.fsdp import FSDPModule, fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # their names until 2.5
    from torch.distributed._composable.fsdp import FSDPModule, fully_shard
    from torch.distributed._tensor import DTensor, distribute_tensor

__all__ = ["DTensor", "FSDPModule", "distribute_tensor", "fully_shard", "norm_of", "scale_to_norm"]


def norm_of(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm over all of them, scalar."""
    utilities: Any = nn.utils
    if hasattr(utilities, "get_total_norm"):
        return utilities.get_total_norm(gradients)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)))


def scale_to_norm(parameters: list[nn.Parameter], most: float, norm: torch.Tensor) -> None:
    """Scale the gradients, whose norm is `norm`, so that it is at most `most`."""
    utilities: Any = nn.utils
    if hasattr(utilities, "clip_grads_with_norm_"):
        utilities.clip_grads_with_norm_(parameters, most, norm)
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, torch.clamp(most / (norm + 1e-6), max=1.0))
