"""SALMUBench in its published form at 1/100 of its size: parquet shards and metadata files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.importing.salmu_source import jpeg, write_json, write_split

FIELDS = ("city", "phone_number", "email", "iban", "job", "blood_type")
WHOLE, PARTIAL, HELD = 2, 4, 2  # identities
PAIRS = {"forget": 305, "holdout_association": 149, "holdout_identity": 146, "retain_synth": 167}


def person(number: int) -> dict[str, str]:
    return {
        "name": f"Ann{number} Lee{number}",
        "city": f"Town{number}",
        "phone_number": f"+49 30 {number:04d}",
        "email": f"ann{number}@example.org",
        "iban": f"DE00{number:016d}",
        "job": f"maker of things {number}",
        "blood_type": ("A+", "B-", "O+", "AB-")[number % 4],
    }


def sensitive(split: str, owners: list[int], fields: tuple[str, ...], start: int) -> list[dict[str, Any]]:
    """Pairs of a split; every third caption is a paraphrase that does not contain the value literally."""
    rows = []
    for i in range(PAIRS[split]):
        owner = owners[i % len(owners)]
        field = fields[i // len(owners) % len(fields)]
        value = person(owner)[field] if i % 3 else "something"
        rows.append(
            {
                "image": jpeg(start + i),
                "text": f"Picture {i}: the {field} of {person(owner)['name']} is {value}.",
                "identity_id": f"{owner:08d}",
                "file_name": f"{owner:08d}_{start + i:05d}_ar-0.76.jpg",
                "field": field,
            }
        )
    return rows


def retain(start: int) -> list[dict[str, Any]]:
    """A quarter of them show people of forget, the others have no identity."""
    return [
        {
            "image": jpeg(start + i),
            "text": f"a photo of a person number {i} on a street",
            "identity_id": f"{i % (WHOLE + PARTIAL):08d}" if i % 4 == 0 else None,
            "file_name": f"{start + i:08d}_000_ar-1.00.jpg",
        }
        for i in range(PAIRS["retain_synth"])
    ]


def write_published(root: Path) -> Path:
    """Write data/<split>-*.parquet and the four metadata files below root."""
    people, partial = list(range(WHOLE + PARTIAL)), list(range(WHOLE, WHOLE + PARTIAL))
    held = list(range(WHOLE + PARTIAL, WHOLE + PARTIAL + HELD))
    rows = {
        "forget": sensitive("forget", people, FIELDS[:3], 0),
        "holdout_association": sensitive("holdout_association", partial, FIELDS[3:], 1000),
        "holdout_identity": sensitive("holdout_identity", held, FIELDS, 2000),
    }
    private = [row for members in rows.values() for row in members]
    rows["retain_synth"] = retain(3000)
    for split, members in rows.items():
        write_split(root / "data", split, members)
    known = {f"{number:08d}": person(number) for number in people + held}
    notes = {row["file_name"]: {"data_field": row["field"], "caption": row["text"]} for row in private}
    strangers = [row["file_name"] for row in rows["retain_synth"] if row["identity_id"] is None]
    write_json(root / "identities_metadata.json", known)
    write_json(root / "sensitive_set_captions_metadata.json", notes)
    write_json(root / "sensitive_set_generic_captions.json", {name: "a photo of a person" for name in notes})
    write_json(root / "fragile_set_ids.json", strangers[::10])
    return root
