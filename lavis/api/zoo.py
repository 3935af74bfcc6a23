"""Tables of what is registered: models and their types, data sets, methods, metrics, attacks, trackers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import yaml

from lavis.common.registry import registry
from lavis.settings.layers import DEFAULTS


class Zoo:
    """Prints itself as a table with two columns; LAVIS's `print(model_zoo)`."""

    def __init__(self, heads: tuple[str, str], rows: Callable[[], Sequence[tuple[str, str]]]) -> None:
        self.heads, self.rows = heads, rows

    def __str__(self) -> str:
        rows = [self.heads, *self.rows()]
        width = max(len(first) for first, _ in rows) + 2
        lines = [f"{first.ljust(width)}{second}".rstrip() for first, second in rows]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])

    __repr__ = __str__


def _models() -> list[tuple[str, str]]:
    return [(name, _types(name)) for name in registry.names("model")]


def _types(name: str) -> str:
    path = DEFAULTS / "models" / f"{name}.yaml"
    if path.is_file():
        return ", ".join(yaml.safe_load(path.read_text(encoding="utf-8"))["types"])
    import open_clip

    count = len(open_clip.list_models())
    return f"{count} architectures of open_clip, local-dir:FOLDER, hf-hub:NAME, a run folder, a JSON file"


def _first_lines(kind: str) -> list[tuple[str, str]]:
    return [(name, (registry.get(kind, name).__doc__ or "").strip().split("\n")[0]) for name in registry.names(kind)]


def _metrics() -> list[tuple[str, str]]:
    items = [(name, registry.get_metric_class(name)) for name in registry.names("metric")]
    return [(name, ", ".join(column.title for column in metric.columns)) for name, metric in items]


def _attacks() -> list[tuple[str, str]]:
    return [(name, registry.get_attack_class(name).about) for name in registry.names("attack")]


model_zoo = Zoo(("model", "types"), _models)
dataset_zoo = Zoo(("data set", "what it is"), lambda: _first_lines("builder"))
method_zoo = Zoo(("method", "what it is"), lambda: _first_lines("trainer"))
metric_zoo = Zoo(("metric", "columns"), _metrics)
attack_zoo = Zoo(("attack", "what it is"), _attacks)
tracker_zoo = Zoo(("tracker", "what it is"), lambda: _first_lines("tracker"))
ZOOS = {
    "models": model_zoo,
    "datasets": dataset_zoo,
    "methods": method_zoo,
    "metrics": metric_zoo,
    "attacks": attack_zoo,
    "trackers": tracker_zoo,
}
