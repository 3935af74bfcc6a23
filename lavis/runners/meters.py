"""Running means and checks of loss terms, accumulated on the device so that the host does not wait for each step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch

from lavis.common import distributed


class Meter:
    """Sums of named scalars over the micro-batches of an epoch."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no double precision
        self.reset()

    def reset(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Add detached scalars without waiting for the device."""
        for name, value in values.items():
            value = value.double() if self._dtype == torch.float64 else value
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._count += 1

    def means(self) -> dict[str, float]:
        """The mean of each name over this process's micro-batches, averaged over the processes."""
        if not self._sums:
            return {}
        means = [float(total) / max(self._count, 1) for total in self._sums.values()]
        return dict(zip(self._sums, distributed.mean_scalars(means, self.device), strict=True))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the means so far over all processes, and the number of micro-batches."""
        return {"means": self.means(), "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
        sums = {name: mean * self._count for name, mean in state["means"].items()}
        self._sums = {name: torch.tensor(total, dtype=self._dtype, device=self.device) for name, total in sums.items()}


class Timed:
    """An iterator that adds up the seconds for which its user waits for items."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.seconds = 0.0

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> Any:
        began = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.seconds += time.monotonic() - began


class Finite:
    """True as long as every scalar it has seen was finite. Only `bool` waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._finite = torch.ones((), dtype=torch.bool, device=device)

    def see(self, value: torch.Tensor) -> None:
        """Take a detached scalar into account."""
        self._finite = self._finite & torch.isfinite(value)

    def __bool__(self) -> bool:
        return bool(self._finite)
