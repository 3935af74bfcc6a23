"""Deletion records of finished runs: rewritten after an audit or a purge, and compared with the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.api.purging import run_data
from lavis.common.errors import DataError, UserFault
from lavis.common.files import read_json
from lavis.deletion.record import KIND, RECORD, SCHEMA, differences, write_record
from lavis.deletion.seal import FIELD, intact
from lavis.deletion.signing import signature_problem


def record(folder: Path, key: str | None = None, sign_with: str | None = None) -> Path:
    """Write a finished run's deletion record again. Raises MissingFile, DataError, CheckpointError, ConfigError.

    Where its rows can no longer be read, as after a purge and their deletion, the request is that of the former record.
    """
    builder, output = run_data(folder)
    try:
        builder.prepare()
        builder.partition()
    except UserFault:
        if not (folder / RECORD).is_file():
            raise
        return write_record(folder, output, None, key=key, sign_with=sign_with)
    return write_record(folder, output, builder, key=key, sign_with=sign_with)


def verify(path: Path, key: str | None = None, signers: str | None = None, signer: str | None = None) -> list[str]:
    """What of a record no longer matches, one sentence each; empty if all does. Raises MissingFile, DataError."""
    path = path / RECORD if path.is_dir() else path
    content = _read(path)
    problems = [] if key is None or intact(content, key) else ["the HMAC does not fit the record and this key"]
    if key is None and FIELD in content:
        problems.append("the record has an HMAC, which was not checked: name its key file with --key")
    signed = path.with_name(f"{path.name}.sig").is_file()
    if signed or signers:
        problem = signature_problem(path, signers, signer) if signed else "the record is not signed"
        problems += [problem] if problem else []
    return [*problems, *differences(path, content)]


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "deletion record", "every unlearning run writes one at its end")
    usable = isinstance(content, dict) and content.get("schema") == SCHEMA and content.get("kind") == KIND
    files = content.get("files") if usable else None
    weights = content.get("weights") if usable else None
    if not isinstance(files, list) or not all(
        isinstance(item, dict) and {"path", "digest"} <= set(item) for item in files
    ):
        raise DataError(f"{path} is not a deletion record of this project (schema {SCHEMA})")
    if not isinstance(weights, dict) or "unlearned" not in weights:
        raise DataError(f"{path} is a deletion record without the digest of the unlearned weights")
    return content
