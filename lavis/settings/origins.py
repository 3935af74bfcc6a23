"""The whole merged configuration as text, each value with where it comes from: `multidelete show-config`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from lavis.settings.config import load_config
from lavis.settings.layers import Layer, dataset_defaults, dataset_layers, model_layers, read_sources, run_layers

WIDTH = 48
DEFAULT = "default"


def explained(cfg_path: str, options: Sequence[str] = (), job: Sequence[str] = ()) -> str:
    """One line per setting: key, value, and the last layer that set it. Raises as `load_config` does."""
    config, sources = load_config(cfg_path, options, job), read_sources(cfg_path, options)
    name, given = dataset_layers(sources)
    sections: dict[str, tuple[Any, list[Layer]]] = {
        "model": (config.model, model_layers(sources)[1]),
        f"datasets.{name}": (config.dataset, [*dataset_defaults(name), *given]),
        "run": (config.run, run_layers(sources, job, {})),
    }
    lines = []
    for prefix, (section, layers) in sections.items():
        for key, value in _leaves(dataclasses.asdict(section), prefix):
            text = f"{key}: {_shown(value)}"
            lines.append(f"{text.ljust(WIDTH)}  # {_origin(key.removeprefix(prefix).split('.')[1:], layers)}")
    return "\n".join(lines) + "\n"


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _origin(path: Sequence[str], layers: Sequence[Layer]) -> str:
    return next((source for source, content in reversed(layers) if _given(content, path)), DEFAULT)


def _given(content: Any, path: Sequence[str]) -> bool:
    """Whether a layer sets the value at this path."""
    for depth, key in enumerate(path):
        if not isinstance(content, Mapping):
            return depth > 0
        if key not in content:
            return False
        content = content[key]
    return True


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
