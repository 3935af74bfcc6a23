"""An HMAC over a deletion record: whoever has the key file can tell that nobody without it has changed the record."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError
from lavis.common.files import check_file, plain

FIELD = "hmac"


def seal(record: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The record with an HMAC-SHA256 over everything else in it; as it is without a key file. Raises MissingFile."""
    content = plain({name: value for name, value in record.items() if name != FIELD})
    return content if key is None else {**content, FIELD: _code(content, _bytes_of(key))}


def intact(record: dict[str, Any], key: str) -> bool:
    """Whether the record's HMAC fits its content and this key file. Raises MissingFile, ConfigError."""
    content = {name: value for name, value in record.items() if name != FIELD}
    return hmac.compare_digest(str(record.get(FIELD, "")), _code(content, _bytes_of(key)))


def _bytes_of(key: str) -> bytes:
    check_file(key, "key file")
    content = Path(key).read_bytes()
    if len(content) < 16:
        raise ConfigError(
            f"key file {key} has {len(content)} bytes; 16 random ones at least: openssl rand -out {key} 32"
        )
    return content


def _code(content: dict[str, Any], key: bytes) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
