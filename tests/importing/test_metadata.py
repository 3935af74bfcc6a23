"""SALMU's metadata files: what is read, and the messages for bad files."""

from __future__ import annotations

import json

import pytest

from lavis.common.errors import DataError, MissingFile
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES, read_fragile, read_identities

PEOPLE = {"1": {"name": "Ann Harrison", "city": "Lisbon"}}


def test_identities_are_read(tmp_path):
    (tmp_path / IDENTITIES).write_text(json.dumps(PEOPLE))
    assert read_identities(tmp_path) == PEOPLE


def test_a_missing_file_is_reported_with_the_hint(tmp_path):
    with pytest.raises(MissingFile, match="generate it"):
        read_identities(tmp_path, "generate it")


@pytest.mark.parametrize(("content", "message"), [("[]", "identity_id"), ('{"1": {"name": " "}}', "lack a 'name'")])
def test_identities_in_another_format_are_refused(tmp_path, content, message):
    (tmp_path / IDENTITIES).write_text(content)
    with pytest.raises(DataError, match=message):
        read_identities(tmp_path)


def test_the_fragile_set_is_a_list_of_names(tmp_path):
    (tmp_path / FRAGILE).write_text('["a.jpg"]')
    assert read_fragile(tmp_path) == ["a.jpg"]
    (tmp_path / FRAGILE).write_text('{"a.jpg": 1}')
    with pytest.raises(DataError, match="list of file names"):
        read_fragile(tmp_path)
