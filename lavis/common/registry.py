"""One registry for everything that a configuration names.

Look-ups are exact. A miss raises ConfigError and lists the existing names, the closest first. At the first look-up all
modules of the rooms are imported, so adding a file is all it takes to add a name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from functools import partialmethod
from typing import Any, TypeVar

from lavis.common.errors import ConfigError, suggest
from lavis.common.interrupts import while_importing

T = TypeVar("T")
ROOMS = (
    *("common", "processors", "models", "datasets", "trainers", "trackers", "runners", "evaluation", "salmubench"),
    *("audits", "attacks", "tasks"),
)
KINDS = ("model", "builder", "task", "processor", "runner", "lr_scheduler", "trainer", "metric", "attack", "tracker")


class Registry:
    """Maps names to classes (or functions), with one table per kind."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._discovered = False

    def discover(self) -> None:
        """Import all modules of ROOMS, once."""
        if self._discovered:
            return
        with while_importing():
            for room in ROOMS:
                package = importlib.import_module(f"lavis.{room}")
                for module in pkgutil.walk_packages(package.__path__, f"lavis.{room}."):
                    if not module.name.rsplit(".", 1)[-1].startswith("__"):
                        importlib.import_module(module.name)
        self._discovered = True

    def register(self, kind: str, *names: str) -> Callable[[T], T]:
        """Decorator that registers a class under one or several exact names. Raises ConfigError for a taken name."""

        def enter(item: T) -> T:
            table = self._tables[kind]
            for name in names:
                known = table.get(name)
                if known is not None and _origin(known) != _origin(item):
                    raise ConfigError(f"{kind} '{name}' is registered twice: by {known!r} and {item!r}")
                table[name] = item
            return item

        return enter

    def get(self, kind: str, name: Any) -> Any:
        """The item registered under this exact name. Raises ConfigError with the valid names."""
        self.discover()
        table = self._tables[kind]
        if not isinstance(name, str) or name not in table:
            raise ConfigError(f"unknown {kind} '{name}'; {suggest(name, table)}")
        return table[name]

    def names(self, kind: str) -> list[str]:
        """Sorted names of one kind."""
        self.discover()
        return sorted(self._tables[kind])

    register_model = partialmethod(register, "model")
    register_builder = partialmethod(register, "builder")
    register_task = partialmethod(register, "task")
    register_processor = partialmethod(register, "processor")
    register_runner = partialmethod(register, "runner")
    register_lr_scheduler = partialmethod(register, "lr_scheduler")
    register_trainer = partialmethod(register, "trainer")
    register_metric = partialmethod(register, "metric")
    register_attack = partialmethod(register, "attack")
    register_tracker = partialmethod(register, "tracker")
    get_model_class = partialmethod(get, "model")
    get_builder_class = partialmethod(get, "builder")
    get_task_class = partialmethod(get, "task")
    get_processor_class = partialmethod(get, "processor")
    get_runner_class = partialmethod(get, "runner")
    get_lr_scheduler_class = partialmethod(get, "lr_scheduler")
    get_trainer_class = partialmethod(get, "trainer")
    get_metric_class = partialmethod(get, "metric")
    get_attack_class = partialmethod(get, "attack")
    get_tracker_class = partialmethod(get, "tracker")


def _origin(item: Any) -> tuple[str, str]:
    """Where an item is defined. A module that runs as a script is imported a second time under its own name."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = spec.name if item.__module__ == "__main__" and spec is not None else item.__module__
    return module, item.__qualname__


registry = Registry()
