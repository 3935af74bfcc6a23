"""Pages freed in small pieces go back to the system; large tensors have pages of their own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lavis.common.memory import release_memory
from tests.small import ROOT


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_pieces_go_back_to_the_system():
    release_memory()  # imports torch
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("the C library is not glibc")
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    pieces = [libc.malloc(64 * 2**10) for _ in range(3200)]
    for piece in pieces:
        ctypes.memset(piece, 1, 64 * 2**10)
    keep = pieces[-1]  # on top of the heap: what lies below cannot be handed back by free alone
    full = resident_mib()
    for piece in pieces[:-1]:
        libc.free(piece)
    release_memory()
    assert full - resident_mib() > 150
    libc.free(keep)


GAPS = """
import ctypes, sys
from pathlib import Path
if sys.argv[1] == "own":
    from lavis.common.memory import own_large_blocks
    own_large_blocks()
import torch
torch.empty(30 * 2**20, dtype=torch.uint8)  # freed: glibc now keeps tensors of this size in its heap
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20
before = resident()
tensors = [torch.ones(20 * 2**20, dtype=torch.uint8) for _ in range(20)]
del tensors[:-1]
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc")
def test_a_large_tensor_that_is_let_go_leaves_no_gap():
    held = {}
    for way in ("torch", "own"):
        words = [sys.executable, "-c", GAPS, way]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
        held[way] = int(done.stdout)
    assert held["own"] < 40 < 300 < held["torch"]
