"""Lists all settings from the dataclasses that declare them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lavis.common.registry import registry
from lavis.settings.declaration import Declared, declared, section_of
from lavis.settings.schema import RunConfig


@dataclass(frozen=True)
class Leaf:
    """A setting that is not a section itself: its section, its path there, and its declaration."""

    prefix: str
    section: type
    path: tuple[str, ...]
    item: Declared

    @property
    def key(self) -> str:
        return ".".join([self.prefix, *self.path])

    def given(self, value: Any) -> dict[str, Any]:
        """The section in a file that sets only this setting."""
        for name in reversed(self.path):
            value = {name: value}
        return value


def leaves(prefix: str, section: type, path: tuple[str, ...] = (), outer: type | None = None) -> Iterator[Leaf]:
    """The settings of a section and of the sections within it; of a mapping of sections, one named `train`."""
    for name, item in declared(section).items():
        inner, keyed = section_of(item.hint)
        own = (*path, name)
        if inner is None:
            yield Leaf(prefix, outer or section, own, item)
        else:
            yield from leaves(prefix, inner, (*own, "train") if keyed else own, outer or section)


def sections() -> dict[str, type]:
    """The sections of every configuration: `run`, `model` of every architecture, `datasets` of every builder."""
    models = {f"model:{name}": registry.get_model_class(name).config_class for name in registry.names("model")}
    names = registry.names("builder")
    data = {f"datasets.{name}": registry.get_builder_class(name).config_class for name in names}
    return {"run": RunConfig, **models, **data}


def arguments() -> dict[str, type]:
    """Declarations outside the sections: arguments of processors and methods."""
    processors = {f"processor:{name}": registry.get_processor_class(name) for name in registry.names("processor")}
    trainers = {f"method:{name}": registry.get_trainer_class(name).params_class for name in registry.names("trainer")}
    return {**processors, **trainers}


def distinct(found: dict[str, type]) -> dict[str, type]:
    """One name per class."""
    return {name: section for section, name in {section: name for name, section in found.items()}.items()}


def all_leaves() -> list[Leaf]:
    """All settings of all classes that declare some."""
    return [leaf for name, kind in distinct({**sections(), **arguments()}).items() for leaf in leaves(name, kind)]


def plain(section: Any) -> dict[str, Any]:
    return dataclasses.asdict(section)
