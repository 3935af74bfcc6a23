"""The arithmetic of a forward pass: half precision, and torch's attention kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

KERNELS = {"math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}


class Arithmetic(Protocol):
    """The settings of `run:` that matter here."""

    @property
    def amp(self) -> bool: ...

    @property
    def amp_dtype(self) -> str: ...

    @property
    def embed_amp(self) -> bool: ...

    @property
    def tf32(self) -> bool: ...

    @property
    def attention(self) -> str: ...


def amp_dtype(run: Arithmetic, device: torch.device) -> torch.dtype | None:
    """The half-precision type of `run.amp_dtype`.

    auto: bf16 if the device supports it; otherwise fp16 on a GPU, and None (single precision) on a CPU, because half
    precision without hardware support is slower.
    """
    if run.amp_dtype != "auto":
        return torch.float16 if run.amp_dtype == "fp16" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else None
    return torch.float16


@contextlib.contextmanager
def computing(run: Arithmetic, device: torch.device) -> Iterator[None]:
    """Apply the run's precision and attention kernel to a forward pass."""
    kind = amp_dtype(run, device)
    on = run.amp and kind is not None
    with torch.autocast(device.type, dtype=kind or torch.bfloat16, enabled=on), attention(run.attention):
        yield


def embedding(run: Arithmetic, device: torch.device) -> contextlib.AbstractContextManager:
    """Apply the precision of embeddings that are stored or evaluated: half with run.embed_amp, else single."""
    kind = amp_dtype(run, device)
    return torch.autocast(device.type, dtype=kind or torch.bfloat16, enabled=run.embed_amp and kind is not None)


def embedded_in(run: Arithmetic, device: torch.device) -> str:
    """The name of that precision, part of the names of stored files."""
    kind = amp_dtype(run, device) if run.embed_amp else None
    return "fp32" if kind is None else str(kind).removeprefix("torch.")


@contextlib.contextmanager
def short_products(run: Arithmetic, device: torch.device) -> Iterator[None]:
    """With run.tf32, CUDA multiplies matrices of single precision in TF32 in here, forward and backward."""
    if not (run.tf32 and device.type == "cuda"):
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def attention(name: str) -> contextlib.AbstractContextManager:
    """Restrict scaled dot-product attention to one of torch's kernels, in forward and the backward that follows."""
    return contextlib.nullcontext() if name == "auto" else sdpa_kernel(KERNELS[name])
