"""What a run's audit found, and what it left untested, for the deletion record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.audits.runner import FILE
from lavis.common.errors import DataError
from lavis.common.files import read_json
from lavis.common.registry import registry
from lavis.common.results import AUDIT

UNTESTED = (
    "no audit was run: whether what was forgotten comes back by fine-tuning, by changing the weights, by reading out, "
    "or by asking differently, and whether membership shows, was tested only as far as the metrics here go"
)


def audit_of(folder: Path) -> dict[str, Any] | None:
    """The run's audit without its curves and variants; None if there is none. Raises DataError for another file."""
    path = folder / AUDIT / FILE
    if not path.is_file():
        return None
    content = read_json(path, "audit")
    if not isinstance(content, dict) or not isinstance(content.get("attacks"), dict):
        raise DataError(f"{path} is not the result of an audit; delete it, or run the audit again")
    attacks = {name: _numbers(one) for name, one in content["attacks"].items() if isinstance(one, dict)}
    return {**content, "attacks": attacks}


def untested(audit: dict[str, Any] | None, weights: str) -> list[str]:
    """Sentences on what was not tested. weights: the digest of the unlearned weights."""
    if audit is None:
        return [UNTESTED]
    missing = sorted(set(registry.names("attack")) - set(audit["attacks"]))
    failed = [f"{name}: {one['problem']}" for name, one in sorted(audit["attacks"].items()) if one.get("problem")]
    said = [str(note) for note in audit.get("notes", [])] + failed
    if missing:
        said.append(f"attacks that the audit did not run: {', '.join(missing)}")
    if audit.get("models", {}).get("unlearned") != weights:
        said.append("the audit is of other weights than these")
    return said


def _numbers(attack: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attack.items() if not isinstance(value, dict | list)}
