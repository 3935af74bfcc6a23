"""Digests in a run's files that a list of candidates can be tried on.

A digest of a whole split has no key, because results of several output folders are compared by it. It covers many rows,
and yet those of the forget and the retain set can be guessed by whoever has the table: with a thousand people in it,
there are a thousand ways to forget one of them. A purge replaces these two. The digests of other splits do not depend
on who is forgotten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST, load_file
from lavis.common.errors import UserFault
from lavis.common.files import read_json
from lavis.common.secrets import PURGED
from lavis.datasets.builder import PairBuilder
from lavis.datasets.digests import split_digests
from lavis.datasets.mapped import ImageNames
from lavis.images.fingerprint import content_digest, sampled

SPLITS = ("df", "dr")
TRAINED_ON = ("rows to train on", "images to train on")


def telling_digests(folder: Path, builder: PairBuilder) -> set[str]:
    """The digests that follow from what was to be forgotten.

    Those in the run's results, evaluations and final checkpoint, and those that an evaluation of the forget or retain
    set would write, whatever it calls the split: a table of these rows alone is all `train`.
    """
    lists = [str(builder.forget_path)] if builder.config.forget_list else []
    found = {digest for data in _data(folder) for digest in _of_forget_rows(data, lists)}
    found |= {load_file(folder / BEST, lazily=True).get("origin", {}).get(name) for name in TRAINED_ON}
    found |= set(_computed(builder))
    return {digest for digest in found if isinstance(digest, str) and not digest.startswith(PURGED)}


def _computed(builder: PairBuilder) -> Iterator[str]:
    parts = builder.partition()
    for part in (parts.df, parts.dr):
        yield from split_digests({"": part}).values()
        with contextlib.suppress(UserFault, OSError):  # images that are gone
            yield sampled(builder.store, ImageNames(part))
    yield content_digest(builder.forget_images())


def _data(folder: Path) -> Iterator[dict[str, Any]]:
    """The key `data` of all results in a run folder."""
    for path in folder.rglob("*.json"):
        with contextlib.suppress(UserFault):
            content = read_json(path, "results file")
            if isinstance(content, dict) and isinstance(content.get("data"), dict):
                yield content["data"]


def _of_forget_rows(data: dict[str, Any], lists: list[str]) -> Iterator[Any]:
    yield data.get("forget_list")
    for part, names in (("splits", SPLITS), ("images", SPLITS), ("files", lists)):
        yield from (data.get(part, {}).get(name) for name in names)
