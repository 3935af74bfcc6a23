"""Pages freed in small pieces return to the system; large tensors have their own pages."""

from __future__ import annotations

import ctypes
import json
import sys

import pytest

from lavis.common.memory import release_memory
from tests.processes import run

PAGE, PIECE, PIECES = 4096, 64 * 2**10, 320


def resident_pages(libc: ctypes.CDLL, address: int, size: int) -> int:
    """How many of the whole pages in a range of memory are resident."""
    first = -(-address // PAGE) * PAGE
    count = (address + size - first) // PAGE
    states = (ctypes.c_ubyte * count)()
    assert libc.mincore(ctypes.c_void_p(first), ctypes.c_size_t(count * PAGE), states) == 0
    return sum(state & 1 for state in states)


@pytest.mark.skipif(sys.platform != "linux", reason="asks mincore")
def test_freed_pieces_return_to_the_system():
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("the C library is not glibc")
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    release_memory()  # imports torch
    pieces = [libc.malloc(PIECE) for _ in range(PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE)
    top = pieces.pop()  # on top of the heap: free alone cannot return what lies below
    for piece in pieces:
        libc.free(piece)
    freed = sum(resident_pages(libc, piece, PIECE) for piece in pieces)
    release_memory()
    assert freed > 0.9 * len(pieces) * (PIECE // PAGE - 1)
    assert sum(resident_pages(libc, piece, PIECE) for piece in pieces) < 0.1 * freed
    libc.free(top)


STEP = """
import json, sys
if sys.argv[1] == "own":
    from lavis.common.memory import own_large_blocks
    own_large_blocks()
import torch
tensors = [torch.ones(int(sys.argv[2]) * 2**20, dtype=torch.uint8) for _ in range(10)]
places = [tensor.data_ptr() for tensor in tensors]
del tensors
with open("/proc/self/maps") as lines:
    ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
print(json.dumps(sum(any(start <= place < end for start, end in ranges) for place in places)))
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
@pytest.mark.parametrize(
    ("setting", "mebibytes", "kept"), [("own", 60, True), ("own", 140, False), ("torch", 60, False)]
)
def test_of_freed_tensors_only_very_large_ones_are_given_back(setting: str, mebibytes: int, kept: bool):
    done = run([sys.executable, "-c", STEP, setting, mebibytes])
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)  # of ten
    assert held == 10 if kept else held < 3  # something small may have been placed into returned memory
