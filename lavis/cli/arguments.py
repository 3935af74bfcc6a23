"""What a command line says about data, columns and the forget set, as the Python interface takes it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError
from lavis.common.registry import registry

FLAGS = {"source": "--data", **{key: f"--{key}" for key in ("images", "columns", "fractions", "forget")}}


def with_flags(message: str) -> str:
    """A message in which the keys of a configuration that flags stand for are named by the flag as well."""
    keys = rf"datasets\.pairs\.({'|'.join(FLAGS)})(\.\w+)*\b"
    return re.sub(keys, lambda found: f"{FLAGS[found[1]]} ({found[0]})", message)


def add_data(parser: argparse.ArgumentParser, required: bool) -> None:
    """The flags --data, --images, --columns, --fractions and --forget."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        required=required,
        metavar="SOURCE",
        help="tables (csv, tsv, json, jsonl, parquet), tar files, a folder, hf-dataset:NAME, or a registered data set",
    )
    data.add_argument("--images", help="folder that image paths are relative to (default: where the table lies)")
    data.add_argument("--columns", metavar="ROLE=COLUMN,…", help="image=path,caption=text,person=who,split=part")
    data.add_argument("--fractions", metavar="SPLIT=SHARE,…", help="test=0.1: splits by people (if there is no column)")
    data.add_argument(
        "--forget",
        action="append",
        metavar="COLUMN=VALUE,…",
        help="person=p17,p18 (again for another column), or a file: a list of images, or a table, optionally :COLUMN",
    )


def data_of(args: argparse.Namespace) -> dict[str, Any] | str | None:
    """The `data` argument of the Python interface. Raises ConfigError."""
    if args.data is None:
        return None
    if len(args.data) == 1 and args.data[0] in registry.names("builder"):
        return args.data[0]
    section: dict[str, Any] = {"source": args.data}
    if args.images:
        section["images"] = args.images
    if args.columns:
        section["columns"] = _mapping(args.columns, "--columns")
    if args.fractions:
        shares = _mapping(args.fractions, "--fractions")
        section["fractions"] = {split: _number(share, "--fractions") for split, share in shares.items()}
    return section


def forget_of(given: Sequence[str] | None) -> dict[str, Any] | None:
    """The `forget` argument of the Python interface: conditions, or one list or table. Raises ConfigError."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return _file(given[0])
    where: dict[str, list[str]] = {}
    for condition in given:
        column, sign, values = condition.partition("=")
        if not sign or not values:
            raise ConfigError(f"--forget: expected COLUMN=VALUE,… or one file, found '{condition}'")
        where.setdefault(column, []).extend(values.split(","))
    return {"where": where}


def _file(given: str) -> dict[str, Any]:
    from lavis.tables.sources import FORMATS

    path, sign, column = given.rpartition(":")
    name = path if sign and not os.path.lexists(given) else given
    if not os.path.lexists(name):
        raise ConfigError(f"--forget: {name} is no file; conditions are written COLUMN=VALUE, as in person=p17,p18")
    if Path(name).suffix.lower() in FORMATS:
        return {"table": name, **({"on": column} if name == path and sign else {})}
    return {"list": name}


def _mapping(text: str, flag: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    wrong = [key for key, sign, value in pairs if not sign or not key or not value]
    if wrong:
        raise ConfigError(f"{flag}: expected NAME=VALUE,NAME=VALUE, found '{text}'")
    found = {key.strip(): value.strip() for key, _, value in pairs}
    if len(found) < len(pairs):
        raise ConfigError(f"{flag}: a name is given twice in '{text}'")
    return found


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: '{text}' is not a number") from error
