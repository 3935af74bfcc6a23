"""Deletion records of finished runs: rewritten after an audit or a purge, and compared with the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.api.purging import run_data
from lavis.common.errors import ConfigError, DataError, UserFault
from lavis.common.files import read_json
from lavis.deletion.record import KIND, RECORD, SCHEMA, differences, write_record
from lavis.deletion.seal import FIELD, intact
from lavis.deletion.signing import signature_of, signature_problem


def record(folder: Path, key: str | None = None, sign_with: str | None = None) -> Path:
    """Write a finished run's deletion record again. Raises MissingFile, DataError, CheckpointError, ConfigError.

    A record that is sealed or signed is only replaced by one that is too. Where rows can no longer be read, as after
    a purge and their deletion, the request is that of the former record.
    """
    _refuse_weaker(folder / RECORD, key, sign_with)
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
    path = _file(path)
    content = _read(path)
    if (signers is None) != (signer is None):
        raise ConfigError("--signers and --signer go together: the file of allowed signers, and a name in it")
    problems = _seal_problems(content, key)
    signed = signature_of(path).is_file()
    if signed or signers:
        problem = signature_problem(path, signers, signer) if signed else "the record is not signed"
        problems += [problem] if problem else []
    return [*problems, *differences(path, content)]


def unsealed(path: Path) -> str:
    """A sentence if a record has neither an HMAC nor a signature; else empty. Raises as `verify`."""
    path = _file(path)
    sealed = FIELD in _read(path) or signature_of(path).is_file()
    return "" if sealed else "the record has neither an HMAC nor a signature: nothing shows who wrote it"


def _seal_problems(content: dict[str, Any], key: str | None) -> list[str]:
    if key is None:
        unchecked = "the record has an HMAC, which was not checked: name its key file with --key"
        return [unchecked] if FIELD in content else []
    if FIELD not in content:
        return ["the record has no HMAC: it was written without --key"]
    return [] if intact(content, key) else ["the HMAC does not fit the record and this key"]


def _refuse_weaker(path: Path, key: str | None, sign_with: str | None) -> None:
    signature = signature_of(path)
    if sign_with is None and signature.is_file():
        raise ConfigError(f"{path} is signed; sign the new one with --sign-with, or delete {signature.name} first")
    if key is None and path.is_file() and FIELD in _read(path):
        raise ConfigError(f"{path} has an HMAC; name a key file with --key, or delete {path.name} first")


def _file(path: Path) -> Path:
    return path / RECORD if path.is_dir() else path


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
