"""Memory that is no longer in use, back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch


def release_memory() -> None:
    """Hand back what the allocators hold for later: GPU blocks, and the C library's free pages where it is glibc.

    For the end of a large phase (a model that is let go): what stays free inside the process would otherwise
    count under the peak of what comes next.
    """
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
