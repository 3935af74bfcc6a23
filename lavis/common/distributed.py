"""Processes: the same code runs alone or under `python -m torch.distributed.run`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from lavis.common.errors import ConfigError, SharedFault, UserFault


def launched() -> bool:
    """True under torch.distributed.run (it sets these variables)."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if initialized() else 1


def is_main() -> bool:
    """True on rank 0, before and after the process group exists as well."""
    return (rank() if initialized() else int(os.environ.get("RANK", 0))) == 0


def resolve_device(name: str) -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:<n>' or 'mps' to a device; under the launcher, cuda means the local rank's.

    Raises ConfigError when the machine has no such device.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind = name.split(":", 1)[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"run.device is '{name}'; valid: auto, cpu, cuda, cuda:<n>, mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"run.device is '{name}' but torch sees no CUDA device; use run.device=cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("run.device is 'mps' but torch sees none; use run.device=cpu or auto")
    if name == "cuda" and launched():
        local, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= there:
            raise ConfigError(f"--nproc_per_node asks for more processes than the {there} CUDA devices of this machine")
        return torch.device("cuda", local)
    return torch.device(name)


def setup(device: torch.device) -> None:
    """Join the process group when launched by torch.distributed.run; else do nothing."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not launched() or initialized():
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    pinned = device if device.type == "cuda" else None
    dist.init_process_group(backend, timeout=timedelta(minutes=30), device_id=pinned)


def shutdown() -> None:
    if initialized():
        dist.destroy_process_group()


def barrier() -> None:
    if initialized():
        dist.barrier()


def on_main(action: Callable[[], Any]) -> None:
    """Do something on rank 0; where that is the user's fault, every rank raises it."""
    fault: UserFault | None = None
    if is_main():
        try:
            action()
        except UserFault as error:
            fault = error
    told = broadcast_object(None if fault is None else str(fault))
    if fault is not None:
        raise fault
    if told is not None:
        raise SharedFault(told)


def broadcast_object(item: Any) -> Any:
    """Rank 0's object, on every rank."""
    if world_size() == 1:
        return item
    box = [item]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_objects(item: Any) -> list[Any]:
    """Every rank's object, in the order of ranks, on every rank."""
    if world_size() == 1:
        return [item]
    box: list[Any] = [None] * world_size()
    dist.all_gather_object(box, item)
    return box


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank when it is true on one."""
    if world_size() == 1:
        return flag
    value = torch.tensor(int(flag), device=_reduce_device(device))
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def sum_counts(counts: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """Sum an integer tensor over the ranks (exact, whatever their number)."""
    if world_size() == 1:
        return counts
    moved = counts.to(_reduce_device(device))
    dist.all_reduce(moved)
    return moved.to(counts.device)


def mean_scalars(values: Sequence[float], device: torch.device) -> list[float]:
    """Mean of each number over the ranks."""
    if world_size() == 1:
        return list(values)
    kind = _reduce_device(device)
    moved = torch.tensor(list(values), dtype=torch.float32 if kind.type == "mps" else torch.float64, device=kind)
    dist.all_reduce(moved)
    return (moved / world_size()).tolist()


def gather_chunks(chunks: dict[int, torch.Tensor], device: torch.device | None = None) -> torch.Tensor:
    """Numbered CPU chunks of rows (n_i, …) from every rank, in the order of their numbers, on every rank: (n, …).

    One rank's part travels at a time: beside the result a process holds no more than that.
    """
    own = [chunks[number] for number in sorted(chunks)]
    if world_size() == 1:
        return torch.cat(own)
    like = (own[0].shape[1:], own[0].dtype) if own else None
    parts = gather_objects(({number: len(chunks[number]) for number in sorted(chunks)}, like))
    shape, kind = next(like for _, like in parts if like is not None)
    lengths = {number: length for part, _ in parts for number, length in part.items()}
    numbers = sorted(lengths)
    found = torch.empty(sum(lengths.values()), *shape, dtype=kind)
    places = dict(zip(numbers, found.split([lengths[number] for number in numbers]), strict=True))
    for owner, (part, _) in enumerate(parts):
        if part:
            rows = torch.cat(own) if owner == rank() else torch.empty(sum(part.values()), *shape, dtype=kind)
            rows = rows.to(_reduce_device(device))
            dist.broadcast(rows, src=owner)
            for number, piece in zip(part, rows.split(list(part.values())), strict=True):
                places[number].copy_(piece)
    return found


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def gather_live(rows: torch.Tensor) -> torch.Tensor:
    """Rows of every process, in the order of ranks, with gradient; every process must hold the same number of rows.

    The gradient is summed over the processes before each takes its own rows of it. With a loss that every process
    computes of the gathered rows, the mean of DDP over processes is then the gradient of that one loss.
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows)


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of every process, in the order of ranks, without gradient; the processes' numbers of rows may differ."""
    if world_size() == 1:
        return rows.detach()
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    most = int(max(counts))
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])


def _reduce_device(device: torch.device | None) -> torch.device:
    if dist.get_backend() != "nccl":
        return torch.device("cpu")
    return device if device is not None and device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
