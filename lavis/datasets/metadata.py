"""Reads SALMU's metadata files: facts about identities, and the fragile set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.common.errors import DataError, first_few
from lavis.common.files import read_json
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES


def read_identities(metadata: Path, hint: str = "") -> dict[str, dict[str, Any]]:
    """Facts by identity_id, from identities_metadata.json. Raises MissingFile; DataError unless each has a name."""
    people = read_json(metadata / IDENTITIES, "metadata file", hint)
    if not isinstance(people, dict) or not all(isinstance(facts, dict) for facts in people.values()):
        raise DataError(f"{metadata / IDENTITIES}: expected {{identity_id: {{name, ...}}}}")
    nameless = [key for key, facts in people.items() if not str(facts.get("name") or "").strip()]
    if nameless:
        count = len(nameless)
        raise DataError(f"{metadata / IDENTITIES}: {count} identities lack a 'name', the first: {first_few(nameless)}")
    return people


def read_fragile(metadata: Path) -> list[str]:
    """File names in fragile_set_ids.json. Raises MissingFile, and DataError unless it is a list of names."""
    names = read_json(metadata / FRAGILE, "metadata file")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{metadata / FRAGILE}: expected a list of file names")
    return names
