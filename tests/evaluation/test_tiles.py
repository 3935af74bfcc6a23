"""The size of tiles, which changes no rank; large ones on a CUDA device that is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lavis.evaluation import ranking
from lavis.evaluation.partitions import partition_plan, ranks_from_partition
from lavis.evaluation.ranking import ranks_from_features
from lavis.evaluation.tiles import BLOCK, GPU_BYTES, Tiles, tile_rows
from tests.evaluation import naive
from tests.fake_cuda import CUDA, fakes

LARGE = 8192
CPU = torch.device("cpu")


def test_the_cpu_has_small_tiles_and_a_gpu_those_of_256_mib():
    assert tile_rows(CPU) == tile_rows(CPU, torch.float64) == BLOCK == 1024
    assert tile_rows(CUDA) == LARGE and LARGE**2 * 4 == GPU_BYTES == 256 * 2**20
    assert tile_rows(CUDA, torch.float64) == 5760  # the square root of 2**28 / 8 is 5792.6; 90 times 64


@pytest.fixture(scope="module")
def world() -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    """Whole numbers (exact products) with many ties; more rows than a large tile, both ends incomplete."""
    source = torch.Generator().manual_seed(0)
    image, text = (torch.randint(-3, 4, (n, 6), generator=source).float() for n in (8300, 8460))
    txt2img = torch.randint(0, 8300, (8460,), generator=source).numpy()
    return image, text, txt2img, txt2img % 4000


@pytest.mark.parametrize("grouped", [False, True], ids=["all captions differ", "equal captions"])
def test_large_tiles_rank_as_small_ones(world, grouped):
    image, text, txt2img, group = world
    keys = {"text_group": group if grouped else None}
    small, large = (ranks_from_features(image, text, txt2img, block=block, **keys) for block in (BLOCK, LARGE))
    assert np.array_equal(small[0], large[0]) and np.array_equal(small[1], large[1])
    plan = partition_plan(txt2img, keys["text_group"], len(image), block=LARGE, shard=(0, 1))
    rows = image[torch.from_numpy(plan.image_rows)], text[torch.from_numpy(plan.text_rows)]
    parts = ranks_from_partition(*rows, plan)
    assert np.array_equal(small[0], parts[0]) and np.array_equal(small[1], parts[1])


@pytest.mark.parametrize("block", [BLOCK, LARGE])
def test_both_sizes_rank_as_the_naive_loop(block):
    source = torch.Generator().manual_seed(1)
    image, text = (torch.randint(-2, 3, (n, 4), generator=source).float() for n in (1100, 1300))
    txt2img = torch.randint(0, 1100, (1300,), generator=source).numpy()
    found = ranks_from_features(image, text, txt2img, block=block)
    expected = naive.ranks((image @ text.T).numpy(), txt2img, None)
    assert [list(r) for r in found] == [list(r) for r in expected]


@fakes
@pytest.mark.parametrize(("dtype", "side"), [(torch.float32, 8192), (torch.float64, 5760)])
def test_cuda_ranks_in_large_tiles_within_the_bound(dtype, side, monkeypatch):
    """Fake tensors: shapes and devices fit in the whole count, and the buffers are as large as is said."""
    seen: list[Tiles] = []

    class Seen(Tiles):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            seen.append(self)

    monkeypatch.setattr(ranking, "Tiles", Seen)
    monkeypatch.setattr(ranking, "ranks_from_counts", lambda matches, below, own: (below, own))  # it reads numbers
    n_img, n_txt = 2 * side - 100, 2 * side + 100
    with FakeTensorMode(allow_non_fake_inputs=True):
        image, text = (torch.zeros(n, 32, dtype=dtype, device=CUDA) for n in (n_img, n_txt))
        below, own = ranks_from_features(image, text, np.arange(n_txt) % n_img)
    (tiles,) = seen
    assert (len(tiles.rows), len(tiles.cols)) == (2, 3)
    assert tiles._scores.numel() == tiles._below.numel() == side**2
    assert tiles._scores.numel() * dtype.itemsize <= GPU_BYTES
    assert below.shape == (n_img + n_txt,) and below.dtype == torch.int64
    assert {below.device, *(part.device for part in own)} == {CUDA}
