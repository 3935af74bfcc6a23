"""release_memory: pages freed in small pieces go back to the system."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from lavis.common.memory import release_memory


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_pieces_go_back_to_the_system():
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
