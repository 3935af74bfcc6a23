"""The optimiser and its parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from lavis.settings.schema import RunConfig


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: to matrices whose dotted name does not contain "bias", "ln" or "bn".

    This is LAVIS's rule for biases, layer norms and batch norms.
    """
    return parameter.ndim >= 2 and not any(mark in name for mark in ("bias", "ln", "bn"))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters with and without decay; sharded ones separately, because fused steps cannot mix them."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((not decays(name, parameter), isinstance(parameter, DTensor)), []).append(parameter)
    decay = {False: weight_decay, True: 0.0}
    return [{"params": groups[kind], "weight_decay": decay[kind[0]]} for kind in sorted(groups)]


def build_optimizer(model: nn.Module, run: RunConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW with run.init_lr, run.weight_decay, run.beta1, run.beta2 and run.adam_eps; fused if the device has it."""
    fused = device.type in ("cpu", "cuda")
    betas = (run.beta1, run.beta2)
    groups = parameter_groups(model, run.weight_decay)
    return torch.optim.AdamW(groups, lr=run.init_lr, betas=betas, eps=run.adam_eps, fused=fused)
