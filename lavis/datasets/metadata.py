"""SALMU's metadata files: facts about its identities, and the fragile set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.common.errors import DataError
from lavis.common.files import read_json

IDENTITIES = "identities_metadata.json"
FRAGILE = "fragile_set_ids.json"


def read_identities(metadata: Path, hint: str = "") -> dict[str, dict[str, Any]]:
    """identity_id → facts, from identities_metadata.json. Raises MissingFile; DataError unless each has a name."""
    people = read_json(metadata / IDENTITIES, "metadata file", hint)
    if not isinstance(people, dict) or not all(isinstance(facts, dict) for facts in people.values()):
        raise DataError(f"{metadata / IDENTITIES}: expected {{identity_id: {{name, ...}}}}")
    nameless = [key for key, facts in people.items() if not str(facts.get("name") or "").strip()]
    if nameless:
        raise DataError(f"{metadata / IDENTITIES}: {len(nameless)} identities have no 'name', first: {nameless[:3]}")
    return people


def read_fragile(metadata: Path) -> list[str]:
    """File names of fragile_set_ids.json. Raises MissingFile, DataError unless it is a list of names."""
    names = read_json(metadata / FRAGILE, "metadata file")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{metadata / FRAGILE}: expected a list of file names")
    return names
