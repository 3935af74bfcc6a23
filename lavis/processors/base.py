"""The base class of image and text processors. Arguments are validated before any data is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.settings.validation import make, read


@dataclasses.dataclass(frozen=True)
class Processor:
    """A callable whose dataclass fields are its arguments in the configuration.

    `kind` is "image" or "text"; `deterministic` is False if the output depends on a random generator.
    """

    kind: ClassVar[str] = ""
    deterministic: ClassVar[bool] = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, where: str = "processor") -> Self:
        """Build from {argument: value}; the key `name` is ignored.

        Raises ConfigError for an unknown argument, a wrong type or a value out of range; `where` is the configuration
        key for the message.
        """
        values = read(cls, {key: value for key, value in (config or {}).items() if key != "name"}, where)
        try:
            return make(cls, values)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from error


def build_processor(config: Mapping[str, Any], kind: str, where: str) -> Any:
    """Build a processor from {name: registered name, <argument>: value}.

    Args:
        kind: "image" or "text", the kind that this key needs.
        where: the configuration key for messages, such as "datasets.salmu.vis_processor.train".

    Raises ConfigError for a missing or unknown name, the wrong kind or a bad argument.
    """
    return processor_class(config, kind, where).from_config(config, where)


def processor_class(config: Mapping[str, Any], kind: str, where: str) -> type[Processor]:
    """The class that the key `name` stands for. Raises ConfigError as `build_processor` does."""
    name = config.get("name") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"{where} needs the name of a processor, for example {{name: clip_{kind}_eval}}")
    found = registry.get_processor_class(name)
    if found.kind != kind:
        raise ConfigError(f"{where}.name: '{name}' processes {found.kind}s; use a processor for {kind}s")
    return found
