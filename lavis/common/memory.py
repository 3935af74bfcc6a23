"""Where large tensors live on a CPU, and memory that is no longer in use back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
LARGE = 16 * 2**20  # bytes; the activations of a base-size tower in single precision are larger


def own_large_blocks() -> None:
    """Give every large tensor pages of its own, 2 MiB ones where the system has them; once, before tensors are made.

    glibc would put tensors below 32 MiB side by side into one heap, where the freed ones leave gaps that the next ones
    do not fit: about a fifth of the peak of a ViT-B-16 step. Small pages would make up for it in page faults, so
    torch is told to ask for huge ones (its own switch, THP_MEM_ALLOC_ENABLE; one that is set already is kept).
    """
    if sys.platform != "linux":
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    choose = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if choose is not None:
        choose(MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Hand back what the allocators hold for later: GPU blocks, and the C library's free pages where it is glibc.

    For the end of a large phase (a model that is let go): what stays free inside the process would otherwise
    count under the peak of what comes next.
    """
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
