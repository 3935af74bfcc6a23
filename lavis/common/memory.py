"""Placement of large CPU tensors, and return of unused memory to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
LARGE = 16 * 2**20  # bytes; the activations of a base-size tower in single precision are larger


def own_large_blocks() -> None:
    """Give each large tensor its own pages, of 2 MiB if the system has them. Call once, before creating tensors.

    glibc would put tensors below 32 MiB next to each other into one heap, where freed ones leave gaps that the next
    ones do not fit into: about a fifth of the peak memory of a ViT-B-16 step. Mapping small pages would cost time
    instead, so torch uses huge ones (its switch THP_MEM_ALLOC_ENABLE, unless that is already set).
    """
    if sys.platform != "linux":
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    choose = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if choose is not None:
        choose(MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Return memory that allocators cache: GPU blocks, and glibc's free pages.

    Call it after a large phase, for example when a model is dropped: memory that stays free inside the process would
    count towards the peak of the next phase.
    """
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
