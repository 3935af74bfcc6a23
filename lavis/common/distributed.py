"""Process groups and collectives. The same code runs alone or under `python -m torch.distributed.run`."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from lavis.common.errors import ConfigError, SharedFault, UserFault

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])  # major and minor: (2, 10)
apart = False  # True: this process computes something for itself, and nothing that it calls exchanges anything


def launched() -> bool:
    """True under torch.distributed.run (it sets these variables)."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def initialized() -> bool:
    return not apart and dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if initialized() else 1


def is_main() -> bool:
    """True on rank 0, also without a process group."""
    return (rank() if initialized() else int(os.environ.get("RANK", 0))) == 0


def resolve_device(name: str) -> torch.device:
    """The device for run.device; under the launcher, 'cuda' is the local rank's. Raises ConfigError if missing."""
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name == "auto":
        name = next((kind for kind, found in there.items() if found()), "cpu")
    kind, _, index = name.partition(":")
    if kind in there and not there[kind]():
        raise ConfigError(f"run.device is '{name}' but torch sees no {kind.upper()} device; use run.device=cpu or auto")
    count = torch.cuda.device_count() if kind == "cuda" else 0
    if index and int(index) >= count:
        raise ConfigError(f"run.device is '{name}', but torch sees {count} CUDA devices, from cuda:0")
    if name == "cuda" and launched():
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= count:
            raise ConfigError(f"--nproc_per_node asks for more processes than the {count} CUDA devices of this machine")
        return torch.device("cuda", local)
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())  # set_device and NCCL need a device with an index
    return torch.device(name)


def setup(device: torch.device) -> None:
    """Join the process group if launched by torch.distributed.run."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    if launched() and not initialized():
        kind, pinned = ("nccl", device) if cuda else ("gloo", None)
        dist.init_process_group(kind, timeout=timedelta(minutes=30), device_id=pinned)


def shutdown() -> None:
    """Leave the process group.

    Before torch 2.8 a group's destructor holds Python's lock while it waits for gloo's threads. One that is about to
    free the last collective's tensor would wait for that lock, for ever; so they get the time to free it first.
    """
    if initialized():
        if TORCH < (2, 8) and dist.get_backend() == "gloo":
            time.sleep(0.5)  # they need microseconds, and longer on a machine with much to do
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """Exit with `code`; a launched process runs exit handlers and flushes files, but does not finalise the interpreter.

    gloo's threads outlive destroy_process_group if a device mesh (fully_shard's) or DDP still references the group. A
    thread that frees a collective's tensor while Python finalises waits for a lock that it will never get, and aborts
    the process: "terminate called without an active exception".
    """
    if not launched():
        raise SystemExit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def barrier() -> None:
    if initialized():
        dist.barrier()


def on_main(action: Callable[[], Any]) -> None:
    """Do something on rank 0; if that raises a user error, every rank raises it."""

    def act() -> None:
        action()

    from_main(act)


def from_main(action: Callable[[], Any]) -> Any:
    """What rank 0 gets by `action`, on every rank; if that raises a user error, every rank raises it."""
    failure: UserFault | None = None
    found: Any = None
    if is_main():
        try:
            found = action()
        except UserFault as error:
            failure = error
    message, found = broadcast_object((None if failure is None else str(failure), found))
    if failure is not None:
        raise failure
    if message is not None:
        raise SharedFault(message)
    return found


def broadcast_object(item: Any) -> Any:
    """Rank 0's object, on every rank."""
    if world_size() == 1:
        return item
    box = [item]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_objects(item: Any) -> list[Any]:
    """All ranks' objects, in rank order, on every rank."""
    if world_size() == 1:
        return [item]
    box: list[Any] = [None] * world_size()
    dist.all_gather_object(box, item)
    return box


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank if it is true on any."""
    return bool(greatest(torch.tensor(int(flag)), device).item())


def sum_counts(counts: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """Sum an integer tensor over the ranks; exact also for floats that are non-zero on one rank only."""
    if world_size() == 1:
        return counts
    moved = counts.to(_reduce_device(device))
    dist.all_reduce(moved)
    return moved.to(counts.device)


def mean_scalars(values: Sequence[float], device: torch.device) -> list[float]:
    """Mean of each number over the ranks."""
    if world_size() == 1:
        return list(values)
    moved = torch.tensor(list(values), dtype=torch.float64, device=_reduce_device(device))  # never MPS
    dist.all_reduce(moved)
    return (moved / world_size()).tolist()


def greatest(values: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """The largest of each number over the ranks (exact; no NaN)."""
    if world_size() == 1:
        return values
    moved = values.to(_reduce_device(device), copy=True)
    dist.all_reduce(moved, op=dist.ReduceOp.MAX)
    return moved.to(values.device)


def broadcast_rows(rows: torch.Tensor, source: int) -> None:
    """Overwrite the rows of all ranks with those of rank `source`; they must be contiguous and have the same shape."""
    if world_size() == 1:
        return
    moved = rows.to(_reduce_device(rows.device))
    dist.broadcast(moved, src=source)
    if moved is not rows and rank() != source:
        rows.copy_(moved)


def broadcast_tensor(tensor: torch.Tensor | None) -> torch.Tensor:
    """Rank 0's CPU tensor, on every rank; the others' argument is ignored."""
    if world_size() > 1:
        shape, kind = broadcast_object(None if tensor is None else (tensor.shape, tensor.dtype))
        tensor = tensor.contiguous() if tensor is not None and is_main() else torch.empty(shape, dtype=kind)
        broadcast_rows(tensor, 0)
    assert tensor is not None
    return tensor


def gather_chunks(chunks: dict[int, torch.Tensor]) -> torch.Tensor:
    """Concatenate all ranks' numbered CPU tensors (B_c, …) in the order of their numbers, on every rank.

    A process needs memory only for the result and its own chunks. Chunks differ only in length; a rank may have none.
    """
    if world_size() == 1:
        return torch.cat([chunks[number] for number in sorted(chunks)])
    facts = gather_objects([(number, tuple(rows.shape), rows.dtype) for number, rows in chunks.items()])
    order = sorted((number, source, shape, kind) for source, part in enumerate(facts) for number, shape, kind in part)
    _, _, shape, kind = order[0]
    result = torch.empty(sum(item[2][0] for item in order), *shape[1:], dtype=kind)
    start = 0
    for number, source, shape, _ in order:
        rows = result[start : start + shape[0]]
        if source == rank():
            rows.copy_(chunks[number])
        broadcast_rows(rows, source)
        start += shape[0]
    return result


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: list[int]) -> torch.Tensor:
        ctx.sizes, most = sizes, max(sizes)
        padded = rows if len(rows) == most else torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
        parts = [torch.empty_like(padded, memory_format=torch.contiguous_format) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.split(ctx.sizes)[rank()], None


def gather_live(rows: torch.Tensor, sizes: Sequence[int] = ()) -> torch.Tensor:
    """Rows of all processes in rank order, with gradient.

    `sizes`: rows of each process, known to all without an exchange; empty: as many as here.

    The gradient is summed over the processes before each takes its own rows. If every process computes the same loss on
    the gathered rows, DDP's mean over processes is then the gradient of that loss.
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows, list(sizes) or [len(rows)] * world_size())


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in rank order, without gradient; the numbers of rows may differ."""
    if world_size() == 1:
        return rows.detach()
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    return _GatherRows.apply(rows.detach(), [int(count) for count in counts])


def _reduce_device(device: torch.device | None) -> torch.device:
    if dist.get_backend() != "nccl":
        return torch.device("cpu")
    return device if device is not None and device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
