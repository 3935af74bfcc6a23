"""Running means of loss terms, kept on the device and read only when somebody looks."""

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
        self.reset()

    def reset(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Add detached scalars; no synchronisation with the device."""
        for name, value in values.items():
            value = value.double() if self.device.type != "mps" else value
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._count += 1

    def means(self) -> dict[str, float]:
        """Mean of every name over this process's micro-batches and then over the processes."""
        names = list(self._sums)
        if not names:
            return {}
        own = [float(self._sums[name]) / max(self._count, 1) for name in names]
        return dict(zip(names, distributed.mean_scalars(own, self.device), strict=True))

    def state(self) -> dict[str, Any]:
        """Means so far over all processes and the count of each, for a checkpoint."""
        return {"means": self.means(), "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
        self._sums = {
            name: torch.tensor(
                mean * self._count, dtype=torch.float64 if self.device.type != "mps" else torch.float32
            ).to(self.device)
            for name, mean in state["means"].items()
        }


class Timed:
    """An iterator that adds up the seconds for which its user waits: the host's share of a step, data not yet there."""

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
    """True as long as every scalar it has seen was finite; kept on the device and read only by `bool`."""

    def __init__(self, device: torch.device) -> None:
        self._sound = torch.ones((), dtype=torch.bool, device=device)

    def see(self, value: torch.Tensor) -> None:
        """Take a detached scalar into account; no synchronisation with the device."""
        self._sound = self._sound & torch.isfinite(value)

    def __bool__(self) -> bool:
        return bool(self._sound)
