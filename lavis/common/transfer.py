"""Copies from the host to the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`, without waiting for the copy.

    CUDA copies in the background only from pinned memory: from any other, the host would wait until the device has
    done all work before the copy. torch keeps the pinned memory until the copy is done.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


def move(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A micro-batch with its tensors on `device`; what else it contains stays."""
    return {
        key: to_device(value, device) if isinstance(value, torch.Tensor) else value for key, value in inputs.items()
    }
