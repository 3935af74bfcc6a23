"""Placement of large CPU tensors, and return of unused memory to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_… of glibc's malloc.h
LARGE, ACCEPTED = 128 * 2**20, 32 * 2**20  # bytes; glibc before 2.35 accepts no more than the second
KEPT = 2**30  # bytes free at the heap's end before they are returned to the system


def own_large_blocks() -> None:
    """Give each large tensor its own pages, of 2 MiB if the system has them. Call once, before creating tensors.

    Mapping small pages would cost time, so torch uses huge ones (its switch THP_MEM_ALLOC_ENABLE, unless that is
    already set). Smaller tensors stay in the heap, whose free end is kept: the next step asks for the same sizes again.
    """
    if sys.platform != "linux":
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    choose = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if choose is not None:
        _ = choose(MMAP_THRESHOLD, LARGE) or choose(MMAP_THRESHOLD, ACCEPTED)
        choose(TRIM_THRESHOLD, KEPT)


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
