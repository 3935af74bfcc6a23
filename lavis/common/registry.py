"""One registry for everything that a configuration names.

Look-ups are exact. A miss raises ConfigError and lists the names that exist, the closest first. The rooms
of the package are walked once, at the first look-up, so adding a file is all it takes to add a name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from lavis.common.errors import ConfigError, suggest

T = TypeVar("T")
ROOMS = (*("common", "processors", "models", "datasets", "trainers", "runners", "evaluation", "salmubench", "tasks"),)
KINDS = ("model", "builder", "task", "processor", "runner", "lr_scheduler", "trainer", "metric")


class Registry:
    """Names to classes (or functions), one table a kind."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._discovered = False

    def discover(self) -> None:
        """Import every module of the registered rooms, once."""
        if self._discovered:
            return
        for room in ROOMS:
            package = importlib.import_module(f"lavis.{room}")
            for module in pkgutil.walk_packages(package.__path__, f"lavis.{room}."):
                if not module.name.rsplit(".", 1)[-1].startswith("__"):
                    importlib.import_module(module.name)
        self._discovered = True

    def register(self, kind: str, *names: str) -> Callable[[T], T]:
        """Decorator that enters a class under one or several exact names; a name taken twice is an error."""

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

    def register_model(self, *names: str):
        return self.register("model", *names)

    def register_builder(self, *names: str):
        return self.register("builder", *names)

    def register_task(self, *names: str):
        return self.register("task", *names)

    def register_processor(self, *names: str):
        return self.register("processor", *names)

    def register_runner(self, *names: str):
        return self.register("runner", *names)

    def register_lr_scheduler(self, *names: str):
        return self.register("lr_scheduler", *names)

    def register_trainer(self, *names: str):
        return self.register("trainer", *names)

    def register_metric(self, *names: str):
        return self.register("metric", *names)

    def get_model_class(self, name: str):
        return self.get("model", name)

    def get_builder_class(self, name: str):
        return self.get("builder", name)

    def get_task_class(self, name: str):
        return self.get("task", name)

    def get_processor_class(self, name: str):
        return self.get("processor", name)

    def get_runner_class(self, name: str):
        return self.get("runner", name)

    def get_lr_scheduler_class(self, name: str):
        return self.get("lr_scheduler", name)

    def get_trainer_class(self, name: str):
        return self.get("trainer", name)

    def get_metric_class(self, name: str):
        return self.get("metric", name)


def _origin(item: Any) -> tuple[str, str]:
    """Where an item was defined; a module run as a script counts as itself."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = spec.name if item.__module__ == "__main__" and spec is not None else item.__module__
    return module, item.__qualname__


registry = Registry()
