"""A CUDA device made of fake tensors: shapes, types and devices without numbers, so that no GPU is needed.

torch refuses operations that mix devices, and those that would have to read a number (`item`, `bool`, `nonzero`);
`Watch` sees the copies between host and device. The autograd engine needs a driver even for fake tensors, so that a
backward pass only checks that there is something to differentiate.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from lavis.common.distributed import TORCH

CUDA = torch.device("cuda", 0)
fakes = pytest.mark.skipif(
    TORCH < (2, 10), reason="where there is no driver, the fake CUDA tensors of torch before 2.10 end the process"
)
aten = torch.ops.aten


class Watch(TorchDispatchMode):
    """Records copies that make the host wait: from the device, from memory that is not pinned, or synchronous ones."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.uploads = 0
        self._pinned: dict[int, torch.Tensor] = {}  # by id; they are referenced here so that no id is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.is_pinned.default:
            return id(args[0]) in self._pinned
        if func is aten._pin_memory.default:
            return self.pinned(aten.clone.default(args[0]))
        out = func(*args, **kwargs)
        if func is aten._to_copy.default:
            self._see(args[0], out, kwargs.get("non_blocking", False))
        if func is aten.copy_.default:
            self._see(args[1], args[0], args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        return out

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, from now on taken for pinned."""
        self._pinned[id(tensor)] = tensor
        return tensor

    def _see(self, source: torch.Tensor, target: torch.Tensor, asynchronous: bool) -> None:
        kinds, what = (source.device.type, target.device.type), f"a tensor {tuple(source.shape)}"
        if kinds == ("cuda", "cpu"):
            self.waits.append(f"{what} is copied to the host")
        if kinds == ("cpu", "cuda"):
            self.uploads += 1
            if id(source) not in self._pinned:
                self.waits.append(f"{what} is copied from memory that is not pinned")
            elif not asynchronous:
                self.waits.append(f"{what} is copied while the host waits")


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, memory: int = 80 * 2**30) -> None:
    """Let torch use autocast on CUDA without a device, and give parameters zero gradients in a backward pass.

    memory: the device's, in bytes.
    """
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *args, **keys: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
    monkeypatch.setattr(torch.Tensor, "backward", _backward)
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, inputs, **keys: [torch.zeros_like(one) for one in inputs])


def _backward(loss: torch.Tensor) -> None:
    """A zero gradient for every leaf that the loss depends on."""
    nodes, seen = [loss.grad_fn], set()
    assert loss.grad_fn is not None, "the loss depends on no parameter"
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaf.grad = torch.zeros_like(leaf)


def move(model: nn.Module, mode: FakeTensorMode) -> None:
    """Replace a real model's parameters and buffers by fake ones on CUDA, and tokenise outside `mode`."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter).detach().to(CUDA)
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else mode.from_tensor(buffer).to(CUDA)
        for name in ("tokenize", "_tokens"):
            if hasattr(module, name):
                setattr(module, name, _outside(mode, getattr(module, name)))


def _outside(mode: FakeTensorMode, function: Callable[[Any], torch.Tensor]) -> Callable[[Any], torch.Tensor]:
    def call(argument: Any) -> torch.Tensor:
        with unset_fake_temporarily():
            result = function(argument)
        return mode.from_tensor(result)

    return call
