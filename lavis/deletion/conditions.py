"""The values of `forget: {where: {column: values}}` in configurations: the one place where a short value is sure to be.

A value such as 7 cannot be looked for, since it is found everywhere; here its place is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lavis.common.bounded_json import parse_json
from lavis.common.checkpoint import load_file, save_checkpoint
from lavis.common.errors import UserFault
from lavis.common.files import read_text, write_json, write_text
from lavis.datasets.builder import PairBuilder
from lavis.datasets.own import PairsConfig

SUFFIXES = (".json", ".yaml", ".yml")


def condition_values(builder: PairBuilder) -> set[str]:
    """The values that the configuration names rows to forget by; none for a list or a table."""
    where = builder.config.forget.get("where", {}) if isinstance(builder.config, PairsConfig) else {}
    return {str(value) for values in where.values() for value in _listed(values)}


def replace_conditions(path: Path, values: set[str], hashed: Callable[[str], str]) -> bool:
    """Put `hashed` in place of these values in a configuration's forget.where; whether there was one."""
    if path.suffix == ".pth":
        found = load_file(path, lazily=True).get("config")
    elif path.suffix in SUFFIXES:
        found = _parsed(path)
    else:
        return False
    changed = _replaced(found, values, hashed)
    if changed == found:
        return False
    if path.suffix == ".pth":
        save_checkpoint(path, {**load_file(path), "config": changed})
    elif path.suffix == ".json":
        write_json(path, changed)
    else:
        write_text(path, yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))
    return True


def _parsed(path: Path) -> Any:
    with contextlib.suppress(UserFault, ValueError, RecursionError, yaml.YAMLError):
        text = read_text(path, "configuration")
        if "where" in text:
            return parse_json(text, str(path), "") if path.suffix == ".json" else yaml.safe_load(text)
    return None


def _replaced(node: Any, values: set[str], hashed: Callable[[str], str]) -> Any:
    if isinstance(node, list):
        return [_replaced(part, values, hashed) for part in node]
    if not isinstance(node, dict):
        return node
    content = {key: _replaced(part, values, hashed) for key, part in node.items()}
    forget = content.get("forget")
    if isinstance(forget, dict) and isinstance(forget.get("where"), dict):
        where = {
            column: [hashed(str(one)) if str(one) in values else one for one in _listed(given)]
            for column, given in forget["where"].items()
        }
        content["forget"] = {**forget, "where": where}
    return content


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]
