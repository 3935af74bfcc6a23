"""Collectives between real processes (gloo)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lavis.common.distributed import gather_chunks, resolve_device
from lavis.common.errors import ConfigError
from tests.processes import run


@pytest.mark.parametrize(
    ("name", "count", "expected"), [("cuda:1", 2, "cuda:1"), ("cuda:2", 2, None), ("cuda", 0, None), ("cpu", 0, "cpu")]
)
def test_a_missing_device_is_refused(monkeypatch, name: str, count: int, expected: str | None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if expected is None:
        with pytest.raises(ConfigError, match=f"run.device is '{name}'"):
            resolve_device(name)
    else:
        assert str(resolve_device(name)) == expected


SCRIPT = """
import torch, torch.distributed as dist
from lavis.common import distributed
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
lengths = [3, 1, 4, 0, 5]
start = [sum(lengths[:i]) for i in range(len(lengths))]
chunk = lambda c: torch.arange(start[c], start[c] + lengths[c])[:, None] * torch.tensor([1.0, 10.0])
for own in (range(rank, len(lengths), world), range(len(lengths)) if rank == world - 1 else ()):
    largest = []
    broadcast = dist.broadcast
    dist.broadcast = lambda rows, src: (largest.append(len(rows)), broadcast(rows, src=src))
    found = distributed.gather_chunks({c: chunk(c) for c in own})
    dist.broadcast = broadcast
    assert torch.equal(found, torch.arange(13)[:, None] * torch.tensor([1.0, 10.0])), found
    assert found.dtype == torch.float32 and sum(largest) == 13, largest
print("same", flush=True)
distributed.shutdown()
"""


@pytest.mark.parametrize("processes", [2, 3])
def test_chunks_are_gathered_in_order_one_at_a_time(tmp_path: Path, processes: int) -> None:
    script = tmp_path / "gather.py"
    script.write_text(SCRIPT)
    done: subprocess.CompletedProcess = run([sys.executable, str(script)], processes=processes)
    assert done.returncode == 0 and done.stdout.count("same") == processes, done.stderr


def test_one_process_has_its_chunks_in_order() -> None:
    rows = gather_chunks({1: torch.tensor([[2.0]]), 0: torch.tensor([[0.0], [1.0]])})
    assert rows.tolist() == [[0.0], [1.0], [2.0]]
